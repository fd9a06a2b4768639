# MSDNet, 4 blocks of 4, 2, 2, 2 layers that keeps the fine scales as long as it can.
# For anytime prediction: the whole training set, no thresholds.
_base_ = [
    '../_base_/models/msdnet_cifar.py',
    '../_base_/datasets/cifar10.py',
    '../_base_/schedules/cifar_sgd_300e.py',
    '../_base_/evaluation/early_exit.py',
    '../_base_/default_runtime.py',
]

model = dict(backbone=dict(num_blocks=4, base=4, step=2, step_mode='even', prune='min'))
