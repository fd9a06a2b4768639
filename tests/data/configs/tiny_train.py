# A LeNet on 40 made pictures: seconds on a CPU. The tests set the two data_roots.
_base_ = '../../../configs/_base_/default_runtime.py'

classes = ['a', 'b', 'c', 'd']
augmentation = [
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
    dict(type='RandomCrop', crop_size=32, padding=4),
]
data = dict(
    type='dynnet.NPZDataset', ann_file='tiny.npz', metainfo=dict(classes=classes)
)
train_dataloader = dict(
    batch_size=8,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        **data, split='train', pipeline=[*augmentation, dict(type='PackInputs')]
    ),
)
val_dataloader = dict(
    batch_size=8,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(**data, split='test', pipeline=[dict(type='PackInputs')]),
)
val_evaluator = dict(type='Accuracy')
test_dataloader = val_dataloader
test_evaluator = val_evaluator

data_preprocessor = dict(mean=[127], std=[60], num_classes=4)
model = dict(
    type='ImageClassifier',
    backbone=dict(type='LeNet5', num_classes=4),
    head=dict(type='ClsHead', loss=dict(type='CrossEntropyLoss')),
)

optim_wrapper = dict(optimizer=dict(type='SGD', lr=0.05, momentum=0.9))
param_scheduler = dict(type='MultiStepLR', by_epoch=True, milestones=[2], gamma=0.1)
auto_scale_lr = dict(base_batch_size=16)
train_cfg = dict(by_epoch=True, max_epochs=3, val_interval=1)
val_cfg = dict()
test_cfg = dict()
