# The moving-cue set of tools/dataset_converters/make_moving_cue.py: the class is seen
# only where a small reddish disc is. MOVING_CUE_ROOT (environment) says where it lies.
data_root = '{{$MOVING_CUE_ROOT:data/moving_cue}}'
num_classes = 4
num_segments = 8
frame_size = 96

data_preprocessor = dict(
    type='mmaction.ActionDataPreprocessor',
    mean=[123.675, 116.28, 103.53],
    std=[58.395, 57.12, 57.375],
    format_shape='NCHW',
)

# No flip: it would turn the stripes, which are the class.
train_pipeline = [
    dict(type='dynnet.OpenVideo'),
    dict(type='dynnet.SampleSegments', num_segments=num_segments),
    dict(type='dynnet.DecodeVideo'),
    dict(type='mmaction.FormatShape', input_format='NCHW'),
    dict(type='mmaction.PackActionInputs'),
]
val_pipeline = [
    dict(type='dynnet.OpenVideo'),
    dict(type='dynnet.SampleSegments', num_segments=num_segments, test_mode=True),
    dict(type='dynnet.DecodeVideo'),
    dict(type='dynnet.LoadCueTruth', truth_file='val_truth.npz', data_root=data_root),
    dict(type='mmaction.FormatShape', input_format='NCHW'),
    dict(type='mmaction.PackActionInputs', algorithm_keys=('cue_centres',)),
]
test_pipeline = [
    dict(type='dynnet.OpenVideo'),
    dict(type='dynnet.SampleSegments', num_segments=num_segments, test_mode=True),
    dict(type='dynnet.DecodeVideo'),
    dict(type='dynnet.LoadCueTruth', truth_file='test_truth.npz', data_root=data_root),
    dict(type='mmaction.FormatShape', input_format='NCHW'),
    dict(type='mmaction.PackActionInputs', algorithm_keys=('cue_centres',)),
]

train_dataloader = dict(
    batch_size=32,
    num_workers=1,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type='dynnet.VideoListDataset',
        data_root=data_root,
        ann_file='train.txt',
        data_prefix=dict(video=''),
        num_classes=num_classes,
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=32,
    num_workers=1,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='dynnet.VideoListDataset',
        data_root=data_root,
        ann_file='val.txt',
        data_prefix=dict(video=''),
        num_classes=num_classes,
        pipeline=val_pipeline,
        test_mode=True,
    ),
)
test_dataloader = dict(
    batch_size=32,
    num_workers=1,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='dynnet.VideoListDataset',
        data_root=data_root,
        ann_file='test.txt',
        data_prefix=dict(video=''),
        num_classes=num_classes,
        pipeline=test_pipeline,
        test_mode=True,
    ),
)

val_evaluator = [
    dict(type='dynnet.VideoMetric', topk=(1,)),
    dict(type='dynnet.PatchDistance', frame_size=frame_size, patch_size=32),
]
test_evaluator = val_evaluator
