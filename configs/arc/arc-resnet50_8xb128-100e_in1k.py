# ARC-ResNet-50 pretrained on ImageNet: 100 epochs, cosine.
_base_ = [
    '../_base_/datasets/imagenet.py',
    '../_base_/default_runtime.py',
]

model = dict(
    type='mmpretrain.ImageClassifier',
    backbone=dict(type='dynnet.ARCResNet', depth=50, kernel_number=4),
    neck=dict(type='mmpretrain.GlobalAveragePooling'),
    head=dict(
        type='mmpretrain.LinearClsHead',
        num_classes=1000,
        in_channels=2048,
        loss=dict(type='mmpretrain.CrossEntropyLoss'),
        topk=(1, 5),
    ),
)
train_dataloader = dict(batch_size=128)
# The published description says 100 epochs and a cosine; the rest is the usual recipe.
optim_wrapper = dict(
    optimizer=dict(type='SGD', lr=0.4, momentum=0.9, weight_decay=1e-4)
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, end=5, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', begin=5, end=100, T_max=95),
]
train_cfg = dict(by_epoch=True, max_epochs=100, val_interval=1)
val_cfg = dict()
test_cfg = dict()
val_evaluator = dict(type='Accuracy', topk=(1, 5))
test_evaluator = val_evaluator
auto_scale_lr = dict(base_batch_size=1024)
