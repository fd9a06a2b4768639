# MSDNet, 5 blocks of 6 layers.
# For anytime prediction: the whole training set, no thresholds.
_base_ = [
    '../_base_/models/msdnet_imagenet.py',
    '../_base_/datasets/imagenet.py',
    '../_base_/schedules/imagenet_sgd_90e.py',
    '../_base_/evaluation/early_exit_top5.py',
    '../_base_/default_runtime.py',
]

model = dict(backbone=dict(base=6, step=6))
