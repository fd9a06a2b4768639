# Thresholds solved as the published code solves them: on the held-out pictures, but
# read through the *training* transform (random crop and flip).
_base_ = './ranet-s1233-even4_1xb64-300e_cifar10-holdout5k.py'

test_cfg = dict(
    calib_dataloader=dict(
        dataset=dict(dataset=dict(pipeline={{_base_.train_pipeline}})),
    )
)
