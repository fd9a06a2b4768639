# The baseline: ResNet-110 with cross-entropy alone.
_base_ = [
    '../_base_/models/resnet20_cifar.py',
    '../_base_/datasets/cifar100.py',
    '../_base_/schedules/cifar_sgd_200e.py',
    '../_base_/evaluation/accuracy.py',
    '../_base_/default_runtime.py',
]

model = dict(backbone=dict(depth=110), head=dict(num_classes=100))

# So deep a net starts at a tenth of the learning rate, for two epochs.
param_scheduler = [
    dict(type='ConstantLR', factor=0.1, by_epoch=True, begin=0, end=2),
    dict(type='MultiStepLR', milestones=[100, 150], gamma=0.1),
]
train_dataloader = dict(batch_size=128)
