# MSDNet, 7 blocks of 1, 2, ..., 7 layers.
# For anytime prediction: the whole training set, no thresholds.
_base_ = [
    '../_base_/models/msdnet_cifar.py',
    '../_base_/datasets/cifar10.py',
    '../_base_/schedules/cifar_sgd_300e.py',
    '../_base_/evaluation/early_exit.py',
    '../_base_/default_runtime.py',
]

model = dict(backbone=dict(num_blocks=7))
