# The baseline: ResNet-20 with cross-entropy alone.
_base_ = [
    '../_base_/models/resnet20_cifar.py',
    '../_base_/datasets/cifar10_npz.py',
    '../_base_/schedules/sgd_cosine_12e.py',
    '../_base_/evaluation/accuracy.py',
    '../_base_/default_runtime.py',
]
