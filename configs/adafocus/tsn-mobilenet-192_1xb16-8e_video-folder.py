# For comparison: whole frames at the size (192) that costs as much as AdaFocus's glance
# at 160 pixels and patch of 96 together, by mmaction2's TSN.
_base_ = ['adafocus-mobilenet-stage1_1xb16-8e_video-folder.py']

frame_size = 192
model = dict(
    _delete_=True,
    type='mmaction.Recognizer2D',
    backbone=dict(
        type='mmaction.MobileNetV2', pretrained=None, out_indices=(7,), norm_eval=True
    ),
    cls_head=dict(
        type='mmaction.TSNHead',
        num_classes=2,
        in_channels=1280,
        spatial_type='avg',
        consensus=dict(type='AvgConsensus', dim=1),
        dropout_ratio=0.5,
        average_clips='prob',
    ),
)
train_pipeline = [
    dict(type='dynnet.OpenVideo', cache_dir={{_base_.cache_dir}}, short_edge=216),
    dict(type='dynnet.SampleSegments', num_segments={{_base_.num_segments}}),
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
    dict(type='dynnet.OpenVideo', cache_dir={{_base_.cache_dir}}, short_edge=216),
    dict(
        type='dynnet.SampleSegments',
        num_segments={{_base_.num_segments}},
        test_mode=True,
    ),
    dict(type='dynnet.DecodeVideo'),
    dict(type='mmaction.CenterCrop', crop_size=frame_size),
    dict(type='mmaction.FormatShape', input_format='NCHW'),
    dict(type='mmaction.PackActionInputs', meta_keys=('img_shape', 'filename')),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
