# Your own videos, mp4 or avi, in one folder per class. VIDEO_FOLDER_ROOT (environment)
# says where they lie; tools/dataset_converters/list_video_folder.py writes the lists
# into the same folder. Fold 0 validates; VIDEO_FOLDER_FOLD=1 takes another one.
data_root = '{{$VIDEO_FOLDER_ROOT:data/video_folder}}'
fold = '{{$VIDEO_FOLDER_FOLD:0}}'
# Decoded once, resized, kept: a small set is read many times. '' decodes every time.
cache_dir = '{{$VIDEO_FOLDER_CACHE:data/video_cache}}'
num_classes = 2
num_segments = 6
frame_size = 160

data_preprocessor = dict(
    type='mmaction.ActionDataPreprocessor',
    mean=[123.675, 116.28, 103.53],
    std=[58.395, 57.12, 57.375],
    format_shape='NCHW',
)

train_pipeline = [
    dict(type='dynnet.OpenVideo', cache_dir=cache_dir or None, short_edge=180),
    dict(type='dynnet.SampleSegments', num_segments=num_segments),
    dict(type='dynnet.DecodeVideo'),
    dict(
        type='mmaction.MultiScaleCrop',
        input_size=frame_size,
        scales=(1, 0.875, 0.75, 0.66),
        num_fixed_crops=13,
    ),
    dict(type='mmaction.Resize', scale=(frame_size, frame_size), keep_ratio=False),
    dict(type='mmaction.Flip', flip_ratio=0.5),
    dict(type='mmaction.FormatShape', input_format='NCHW'),
    dict(type='mmaction.PackActionInputs', meta_keys=('img_shape', 'filename')),
]
test_pipeline = [
    dict(type='dynnet.OpenVideo', cache_dir=cache_dir or None, short_edge=180),
    dict(type='dynnet.SampleSegments', num_segments=num_segments, test_mode=True),
    dict(type='dynnet.DecodeVideo'),
    dict(type='mmaction.CenterCrop', crop_size=frame_size),
    dict(type='mmaction.FormatShape', input_format='NCHW'),
    dict(type='mmaction.PackActionInputs', meta_keys=('img_shape', 'filename')),
]

train_dataloader = dict(
    batch_size=16,
    num_workers=1,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type='dynnet.VideoListDataset',
        data_root=data_root,
        ann_file=f'fold{fold}_train.txt',
        data_prefix=dict(video=''),
        num_classes=num_classes,
        class_file='classes.txt',
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=16,
    num_workers=1,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='dynnet.VideoListDataset',
        data_root=data_root,
        ann_file=f'fold{fold}_val.txt',
        data_prefix=dict(video=''),
        num_classes=num_classes,
        class_file='classes.txt',
        pipeline=test_pipeline,
        test_mode=True,
    ),
)
test_dataloader = val_dataloader

val_evaluator = dict(type='dynnet.VideoMetric', topk=(1,))
test_evaluator = val_evaluator
