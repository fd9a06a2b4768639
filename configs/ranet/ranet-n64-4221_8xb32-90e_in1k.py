# RANet, base width 64, factors 4-2-2-1: by its FLOPs the net of the anytime figure.
# For anytime prediction: the whole training set, no thresholds.
_base_ = [
    '../_base_/models/ranet_imagenet.py',
    '../_base_/datasets/imagenet.py',
    '../_base_/schedules/imagenet_sgd_90e.py',
    '../_base_/evaluation/early_exit_top5.py',
    '../_base_/default_runtime.py',
]

model = dict(backbone=dict(base_channels=64))
