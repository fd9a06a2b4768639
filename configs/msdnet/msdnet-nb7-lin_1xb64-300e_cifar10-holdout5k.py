# MSDNet, 7 blocks of 1, 2, ..., 7 layers.
# For budgets: 5 000 training pictures are held out and thresholds are solved on them.
_base_ = [
    '../_base_/models/msdnet_cifar.py',
    '../_base_/datasets/cifar10_holdout.py',
    '../_base_/schedules/cifar_sgd_300e.py',
    '../_base_/evaluation/early_exit.py',
    '../_base_/default_runtime.py',
]

model = dict(backbone=dict(num_blocks=7))
test_cfg = dict(calib_dataloader={{_base_.calib_dataloader}})
