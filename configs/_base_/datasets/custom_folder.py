# Your own pictures: {train,val,test}/CLASS/PICTURE below one folder, with the same
# class folders in all three. CUSTOM_FOLDER_ROOT (environment) says where it is.
data_root = '{{$CUSTOM_FOLDER_ROOT:data/custom_folder}}'

# ImageNet's mean and standard deviation: near enough for photographs.
data_preprocessor = dict(
    mean=[123.675, 116.28, 103.53],
    std=[58.395, 57.12, 57.375],
    to_rgb=True,  # pictures are loaded as BGR
)

# dynnet.LoadImageStrict names every file that it cannot read.
train_pipeline = [
    dict(type='dynnet.LoadImageStrict'),
    dict(type='RandomResizedCrop', scale=128, crop_ratio_range=(0.5, 1.0)),
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
    dict(type='PackInputs'),
]
test_pipeline = [
    dict(type='dynnet.LoadImageStrict'),
    dict(type='ResizeEdge', scale=144, edge='short'),
    dict(type='CenterCrop', crop_size=128),
    dict(type='PackInputs'),
]

train_dataloader = dict(
    batch_size=32,
    num_workers=2,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type='dynnet.ImageFolder',
        data_root=data_root,
        data_prefix='train',
        pipeline=train_pipeline,
    ),
)
# Thresholds are solved on val/, and it is watched during training.
val_dataloader = dict(
    batch_size=32,
    num_workers=2,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='dynnet.ImageFolder',
        data_root=data_root,
        data_prefix='val',
        pipeline=test_pipeline,
    ),
)
calib_dataloader = val_dataloader
test_dataloader = dict(
    batch_size=32,
    num_workers=2,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='dynnet.ImageFolder',
        data_root=data_root,
        data_prefix='test',
        pipeline=test_pipeline,
    ),
)
