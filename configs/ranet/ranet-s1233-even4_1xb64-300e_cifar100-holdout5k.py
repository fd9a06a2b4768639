# RANet, four sub-networks (scales 1-2-3-3), 4 layers in every block: the published
# training script, and by its FLOPs the net of the anytime figure.
# For budgets: 5 000 training pictures are held out and thresholds are solved on them.
_base_ = [
    '../_base_/models/ranet_cifar.py',
    '../_base_/datasets/cifar100_holdout.py',
    '../_base_/schedules/cifar_sgd_300e.py',
    '../_base_/evaluation/early_exit.py',
    '../_base_/default_runtime.py',
]

model = dict(
    backbone=dict(
        growth_factor=(4, 2, 1, 1),
        bottleneck_factor=(4, 2, 1, 1),
        scale_list=(1, 2, 3, 3),
    ),
    head=dict(num_classes=100),
)
test_cfg = dict(calib_dataloader={{_base_.calib_dataloader}})
