# Oriented R-CNN with ARC-ResNet-50 on HRSC2016.
_base_ = [
    'mmrotate::oriented_rcnn/oriented-rcnn-le90_r50_fpn_1x_dota.py',
    '../_base_/rotated_runtime.py',
]

model = dict(
    backbone=dict(
        _delete_=True,
        type='dynnet.ARCResNet',
        depth=50,
        kernel_number=4,
        out_indices=(0, 1, 2, 3),
        frozen_stages=1,
        norm_eval=True,
        # A converted ImageNet checkpoint, see README.md.
        init_cfg=dict(
            type='Pretrained',
            checkpoint='checkpoints/arc-r50-n4_in1k.pth',
            prefix='backbone.',
        ),
    ),
    roi_head=dict(bbox_head=dict(num_classes=1)),
)
optim_wrapper = dict(paramwise_cfg=dict(custom_keys={'backbone': dict(lr_mult=0.5)}))
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
auto_scale_lr = dict(base_batch_size=2)
default_hooks = dict(checkpoint=dict(type='dynnet.AtomicCheckpointHook'))
