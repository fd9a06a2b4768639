# ActivityNet 1.3 as AdaFocus uses it, decoded straight from the videos: VIDEO.mp4 below
# videos/, and the lists actnet_{train,val}_split.txt (`VIDEO,frames,label[,label]`).
# ACTIVITYNET_ROOT (environment) says where all of it lies.
data_root = '{{$ACTIVITYNET_ROOT:data/activitynet}}'
num_classes = 200
num_segments = 16

data_preprocessor = dict(
    type='mmaction.ActionDataPreprocessor',
    mean=[123.675, 116.28, 103.53],
    std=[58.395, 57.12, 57.375],
    format_shape='NCHW',
)

train_pipeline = [
    dict(type='dynnet.OpenVideo'),
    dict(type='dynnet.SampleSegments', num_segments=num_segments),
    dict(type='dynnet.DecodeVideo'),
    dict(
        type='mmaction.MultiScaleCrop',
        input_size=224,
        scales=(1, 0.875, 0.75, 0.66),
        max_wh_scale_gap=1,
        num_fixed_crops=13,
    ),
    dict(type='mmaction.Resize', scale=(224, 224), keep_ratio=False),
    dict(type='mmaction.Flip', flip_ratio=0.5),
    dict(type='mmaction.FormatShape', input_format='NCHW'),
    dict(type='mmaction.PackActionInputs', meta_keys=('img_shape', 'filename')),
]
test_pipeline = [
    dict(type='dynnet.OpenVideo'),
    dict(type='dynnet.SampleSegments', num_segments=num_segments, test_mode=True),
    dict(type='dynnet.DecodeVideo'),
    dict(type='mmaction.Resize', scale=(-1, 256)),
    dict(type='mmaction.CenterCrop', crop_size=224),
    dict(type='mmaction.FormatShape', input_format='NCHW'),
    dict(
        type='mmaction.PackActionInputs',
        meta_keys=('img_shape', 'filename'),
        algorithm_keys=('labels',),
    ),
]

train_dataloader = dict(
    batch_size=64,
    num_workers=8,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type='dynnet.VideoListDataset',
        data_root=data_root,
        ann_file='actnet_train_split.txt',
        data_prefix=dict(video='videos'),
        suffix='.mp4',
        columns='path frames label',
        delimiter=',',
        max_labels=3,
        min_frames=3,
        num_classes=num_classes,
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=64,
    num_workers=8,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='dynnet.VideoListDataset',
        data_root=data_root,
        ann_file='actnet_val_split.txt',
        data_prefix=dict(video='videos'),
        suffix='.mp4',
        columns='path frames label',
        delimiter=',',
        max_labels=3,
        min_frames=3,
        num_classes=num_classes,
        pipeline=test_pipeline,
        test_mode=True,
    ),
)
test_dataloader = val_dataloader

val_evaluator = dict(type='dynnet.VideoMetric', topk=(1, 5), mean_ap='first')
test_evaluator = val_evaluator
