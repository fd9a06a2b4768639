# RANet, base width 64, factors 4-2-2-1: by its FLOPs the net of the anytime figure.
# For budgets: 50 000 training pictures are held out and thresholds are solved on them.
_base_ = [
    '../_base_/models/ranet_imagenet.py',
    '../_base_/datasets/imagenet_holdout.py',
    '../_base_/schedules/imagenet_sgd_90e.py',
    '../_base_/evaluation/early_exit_top5.py',
    '../_base_/default_runtime.py',
]

model = dict(backbone=dict(base_channels=64))
test_cfg = dict(calib_dataloader={{_base_.calib_dataloader}})
