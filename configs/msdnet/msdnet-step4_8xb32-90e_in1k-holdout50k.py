# MSDNet, 5 blocks of 4 layers.
# For budgets: 50 000 training pictures are held out and thresholds are solved on them.
_base_ = [
    '../_base_/models/msdnet_imagenet.py',
    '../_base_/datasets/imagenet_holdout.py',
    '../_base_/schedules/imagenet_sgd_90e.py',
    '../_base_/evaluation/early_exit_top5.py',
    '../_base_/default_runtime.py',
]

test_cfg = dict(calib_dataloader={{_base_.calib_dataloader}})
