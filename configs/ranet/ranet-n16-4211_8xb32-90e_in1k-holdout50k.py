# RANet, base width 16, factors 4-2-1-1: the published training script, which leaves the
# width at its default.
# For budgets: 50 000 training pictures are held out and thresholds are solved on them.
_base_ = [
    '../_base_/models/ranet_imagenet.py',
    '../_base_/datasets/imagenet_holdout.py',
    '../_base_/schedules/imagenet_sgd_90e.py',
    '../_base_/evaluation/early_exit_top5.py',
    '../_base_/default_runtime.py',
]

model = dict(
    backbone=dict(
        base_channels=16,
        growth_factor=(4, 2, 1, 1),
        bottleneck_factor=(4, 2, 1, 1),
    ),
)
test_cfg = dict(calib_dataloader={{_base_.calib_dataloader}})
