# A few hundred SAR pictures of ships in DOTA's layout, on a CPU, from scratch.
_base_ = [
    'mmrotate::rotated_retinanet/rotated-retinanet-rbox-le90_r50_fpn_1x_dota.py',
    '../_base_/rotated_runtime.py',
]

data_root = '{{$SSDD_TINY_ROOT:data/ssdd_tiny}}/'
load = dict(type='dynnet.LoadImageStrict')
boxes = [
    dict(type='mmdet.LoadAnnotations', with_bbox=True, box_type='qbox'),
    dict(type='ConvertBoxType', box_type_mapping=dict(gt_bboxes='rbox')),
]
resize = dict(type='mmdet.Resize', scale=(256, 256), keep_ratio=True)
train_pipeline = [
    load,
    *boxes,
    resize,
    dict(
        type='mmdet.RandomFlip',
        prob=0.75,
        direction=['horizontal', 'vertical', 'diagonal'],
    ),
    dict(type='mmdet.PackDetInputs'),
]
test_pipeline = [
    load,
    resize,
    *boxes,
    dict(
        type='mmdet.PackDetInputs',
        meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor'),
    ),
]
dataset = dict(
    type='dynnet.DOTADatasetStrict',
    data_root=data_root,
    metainfo=dict(classes=('ship',), palette=[(220, 20, 60)]),
)
train_dataloader = dict(
    batch_size=4,
    num_workers=0,
    persistent_workers=False,
    dataset=dict(
        ann_file='train/',
        data_prefix=dict(img_path='images/'),
        pipeline=train_pipeline,
        **dataset,
    ),
)
val_dataloader = dict(
    num_workers=0,
    persistent_workers=False,
    dataset=dict(
        ann_file='val/',
        data_prefix=dict(img_path='images/'),
        pipeline=test_pipeline,
        **dataset,
    ),
)
test_dataloader = val_dataloader

# Narrow neck and heads: the backbone is what is compared.
model = dict(
    backbone=dict(
        _delete_=True,
        type='mmpretrain.ResNet',
        depth=18,
        out_indices=(0, 1, 2, 3),
    ),
    neck=dict(in_channels=[64, 128, 256, 512], out_channels=64, num_outs=3),
    bbox_head=dict(
        num_classes=1,
        in_channels=64,
        feat_channels=64,
        stacked_convs=2,
        anchor_generator=dict(strides=[8, 16, 32]),
    ),
)

# From scratch, so with an optimizer that needs no long warm-up.
optim_wrapper = dict(
    optimizer=dict(_delete_=True, type='AdamW', lr=1e-3, weight_decay=0.05),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=50),
    dict(
        type='CosineAnnealingLR',
        T_max=12,
        end=12,
        eta_min=0,
        convert_to_iter_based=True,
    ),
]
train_cfg = dict(max_epochs=12, val_interval=12)
auto_scale_lr = dict(base_batch_size=4)
default_hooks = dict(
    logger=dict(interval=10),
    checkpoint=dict(type='dynnet.AtomicCheckpointHook', max_keep_ckpts=1),
)
