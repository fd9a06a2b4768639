# Something-Something V2 from dumped frames, in TSM's layout: frames/ID/000001.jpg, ...,
# and the lists {train,val}_videofolder.txt (`ID frames label`). STHV2_ROOT
# (environment) says where all of it lies.
data_root = '{{$STHV2_ROOT:data/sthv2}}'
num_classes = 174
num_glance, num_focus = 8, 12

data_preprocessor = dict(
    type='mmaction.ActionDataPreprocessor',
    mean=[123.675, 116.28, 103.53],
    std=[58.395, 57.12, 57.375],
    format_shape='NCHW',
)

# No flip: many classes say left or right.
train_pipeline = [
    dict(type='dynnet.OpenVideo'),
    dict(type='dynnet.SampleGlanceFocus', num_glance=num_glance, num_focus=num_focus),
    dict(type='dynnet.DecodeVideo'),
    dict(
        type='mmaction.MultiScaleCrop',
        input_size=224,
        scales=(1, 0.875, 0.75, 0.66),
        max_wh_scale_gap=1,
        num_fixed_crops=13,
    ),
    dict(type='mmaction.Resize', scale=(224, 224), keep_ratio=False),
    dict(type='mmaction.FormatShape', input_format='NCHW'),
    dict(type='mmaction.PackActionInputs', meta_keys=('img_shape', 'frame_dir')),
]
test_pipeline = [
    dict(type='dynnet.OpenVideo'),
    dict(
        type='dynnet.SampleGlanceFocus',
        num_glance=num_glance,
        num_focus=num_focus,
        test_mode=True,
    ),
    dict(type='dynnet.DecodeVideo'),
    dict(type='mmaction.Resize', scale=(-1, 256)),
    dict(type='mmaction.CenterCrop', crop_size=224),
    dict(type='mmaction.FormatShape', input_format='NCHW'),
    dict(type='mmaction.PackActionInputs', meta_keys=('img_shape', 'frame_dir')),
]

train_dataloader = dict(
    batch_size=64,
    num_workers=8,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type='dynnet.FrameListDataset',
        data_root=data_root,
        ann_file='train_videofolder.txt',
        data_prefix=dict(img='frames'),
        filename_tmpl='{:06d}.jpg',
        num_classes=num_classes,
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=64,
    num_workers=8,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='dynnet.FrameListDataset',
        data_root=data_root,
        ann_file='val_videofolder.txt',
        data_prefix=dict(img='frames'),
        filename_tmpl='{:06d}.jpg',
        num_classes=num_classes,
        pipeline=test_pipeline,
        test_mode=True,
    ),
)
test_dataloader = val_dataloader

val_evaluator = dict(type='dynnet.VideoMetric', topk=(1, 5))
test_evaluator = val_evaluator
