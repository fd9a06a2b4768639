# RANet, four sub-networks (scales 1-2-3-3), blocks of 2, 4, 6, ... layers.
# For anytime prediction: the whole training set, no thresholds.
_base_ = [
    '../_base_/models/ranet_cifar.py',
    '../_base_/datasets/cifar100.py',
    '../_base_/schedules/cifar_sgd_300e.py',
    '../_base_/evaluation/early_exit.py',
    '../_base_/default_runtime.py',
]

model = dict(
    backbone=dict(
        step=2,
        step_mode='lg',
        growth_factor=(4, 2, 1, 1),
        bottleneck_factor=(4, 2, 1, 1),
        scale_list=(1, 2, 3, 3),
    ),
    head=dict(num_classes=100),
)
