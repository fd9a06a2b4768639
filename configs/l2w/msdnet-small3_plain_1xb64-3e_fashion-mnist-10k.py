# The plain twin of msdnet-small3_l2w_1xb128-3e_fashion-mnist-10k.py: equal epochs, SGD
# steps and batch per step.
_base_ = [
    '../_base_/models/msdnet_small3.py',
    '../_base_/datasets/fashion_mnist_10k.py',
    '../_base_/schedules/cosine.py',
    '../_base_/evaluation/early_exit.py',
    '../_base_/default_runtime.py',
]

train_cfg = dict(max_epochs=3)
model = dict(backbone=dict(in_channels=1))
test_cfg = dict(calib_dataloader={{_base_.calib_dataloader}})
