# Pre-training on the first five classes, cross-entropy alone.
_base_ = [
    '../_base_/models/resnet20_cifar.py',
    '../_base_/datasets/cifar10_npz_first5.py',
    '../_base_/schedules/sgd_cosine_12e.py',
    '../_base_/evaluation/accuracy.py',
    '../_base_/default_runtime.py',
]

model = dict(head=dict(num_classes=5))
