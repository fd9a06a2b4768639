# The baseline on 10 000 pictures of Fashion-MNIST: cross-entropy alone.
_base_ = [
    '../_base_/models/resnet20_cifar.py',
    '../_base_/datasets/fashion_mnist_10k.py',
    '../_base_/schedules/sgd_cosine_12e.py',
    '../_base_/evaluation/accuracy.py',
    '../_base_/default_runtime.py',
]

model = dict(backbone=dict(in_channels=1))
