# The baseline: ResNet-56 with cross-entropy alone.
_base_ = [
    '../_base_/models/resnet20_cifar.py',
    '../_base_/datasets/cifar10.py',
    '../_base_/schedules/cifar_sgd_200e.py',
    '../_base_/evaluation/accuracy.py',
    '../_base_/default_runtime.py',
]

model = dict(backbone=dict(depth=56))
train_dataloader = dict(batch_size=128)
