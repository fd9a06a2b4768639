# The baseline: ResNet-50 with cross-entropy alone.
_base_ = [
    '../_base_/models/resnet_imagenet.py',
    '../_base_/datasets/imagenet.py',
    '../_base_/schedules/imagenet_sgd_100e.py',
    '../_base_/evaluation/accuracy.py',
    '../_base_/default_runtime.py',
]
