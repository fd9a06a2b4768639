# CUB-200-2011 in its official layout, 224x224.
data_root = '{{$CUB_ROOT:data/CUB_200_2011}}'
num_classes = 200

data_preprocessor = dict(
    num_classes=num_classes,
    mean=[123.675, 116.28, 103.53],
    std=[58.395, 57.12, 57.375],
    to_rgb=True,  # pictures are loaded as BGR
)

train_pipeline = [
    dict(type='dynnet.LoadImageStrict'),
    dict(type='RandomResizedCrop', scale=224),
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
    dict(type='PackInputs'),
]
test_pipeline = [
    dict(type='dynnet.LoadImageStrict'),
    dict(type='ResizeEdge', scale=256, edge='short'),
    dict(type='CenterCrop', crop_size=224),
    dict(type='PackInputs'),
]

train_dataloader = dict(
    batch_size=32,
    num_workers=4,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type='CUB', data_root=data_root, split='train', pipeline=train_pipeline
    ),
)
# There is no third set: the test set is watched during training. Nothing is chosen by
# it; results are those of the last epoch.
val_dataloader = dict(
    batch_size=64,
    num_workers=4,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='CUB', data_root=data_root, split='test', pipeline=test_pipeline),
)
test_dataloader = val_dataloader
