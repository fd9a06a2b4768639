# Oriented R-CNN with ARC-ResNet-50 on HRSC2016.
_base_ = [
    'mmrotate::oriented_rcnn/oriented-rcnn-le90_r50_fpn_1x_dota.py',
    '../_base_/models/arc_resnet50.py',
    '../_base_/rotated_runtime.py',
]

model = dict(
    backbone={{_base_.arc_resnet50}},
    roi_head=dict(bbox_head=dict(num_classes=1)),
)
optim_wrapper = {{_base_.half_rate}}
data_root = 'data/hrsc/'
load = [
    dict(type='mmdet.LoadImageFromFile'),
    dict(type='mmdet.LoadAnnotations', with_bbox=True, box_type='qbox'),
    dict(type='ConvertBoxType', box_type_mapping=dict(gt_bboxes='rbox')),
]
train_pipeline = [
    *load,
    dict(type='mmdet.Resize', scale=(1333, 800), keep_ratio=True),
    dict(
        type='mmdet.RandomFlip',
        prob=0.75,
        direction=['horizontal', 'vertical', 'diagonal'],
    ),
    dict(type='mmdet.PackDetInputs'),
]
test_pipeline = [
    load[0],
    dict(type='mmdet.Resize', scale=(1333, 800), keep_ratio=True),
    *load[1:],  # after resizing: the boxes stay in the picture's own pixels
    dict(
        type='mmdet.PackDetInputs',
        meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor'),
    ),
]
train_dataloader = dict(
    persistent_workers=False,
    dataset=dict(
        _delete_=True,
        type='dynnet.HRSCDatasetStrict',
        data_root=data_root,
        ann_file='ImageSets/trainval.txt',
        data_prefix=dict(sub_data_root='FullDataSet/'),
        filter_cfg=dict(filter_empty_gt=True),
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='dynnet.HRSCDatasetStrict',
        data_root=data_root,
        ann_file='ImageSets/test.txt',
        data_prefix=dict(sub_data_root='FullDataSet/'),
        test_mode=True,
        pipeline=test_pipeline,
    )
)
test_dataloader = val_dataloader

train_cfg = dict(max_epochs=36, val_interval=12)
param_scheduler = [
    dict(type='LinearLR', start_factor=1 / 3, by_epoch=False, begin=0, end=500),
    dict(type='MultiStepLR', begin=0, end=36, milestones=[24, 33], gamma=0.1),
]
auto_scale_lr = {{_base_.scale_by_batch}}
default_hooks = {{_base_.safe_hooks}}
