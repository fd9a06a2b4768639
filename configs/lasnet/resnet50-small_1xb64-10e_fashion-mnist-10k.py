# The dense network that the small gated ones start from and are taught by.
_base_ = [
    '../_base_/models/resnet_small.py',
    '../_base_/datasets/fashion_mnist_10k.py',
    '../_base_/schedules/sgd_cosine_10e.py',
    '../_base_/evaluation/accuracy.py',
    '../_base_/default_runtime.py',
]

model = dict(backbone=dict(in_channels=1))
