# A few hundred SAR pictures of ships, their boxes made upright by
# tools/dataset_converters/dota_to_coco.py; on a CPU, from scratch.
_base_ = 'mmdet::retinanet/retinanet_r50_fpn_1x_coco.py'

data_root = '{{$SSDD_TINY_COCO_ROOT:data/ssdd_tiny}}/'
classes = ('ship',)
metainfo = dict(classes=classes)
load = dict(type='dynnet.LoadImageStrict')
boxes = dict(type='LoadAnnotations', with_bbox=True)
resize = dict(type='Resize', scale=(384, 384), keep_ratio=True)
train_pipeline = [
    load,
    boxes,
    resize,
    dict(
        type='RandomFlip', prob=0.75, direction=['horizontal', 'vertical', 'diagonal']
    ),
    dict(type='PackDetInputs'),
]
test_pipeline = [
    load,
    resize,
    boxes,
    dict(
        type='PackDetInputs',
        meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor'),
    ),
]
train_dataloader = dict(
    batch_size=4,
    num_workers=0,
    persistent_workers=False,
    dataset=dict(
        data_root=data_root,
        metainfo=metainfo,
        ann_file='train.json',
        data_prefix=dict(img='images/'),
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    num_workers=0,
    persistent_workers=False,
    dataset=dict(
        data_root=data_root,
        metainfo=metainfo,
        ann_file='val.json',
        data_prefix=dict(img='images/'),
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(ann_file=data_root + 'val.json')
test_evaluator = val_evaluator

# A quarter of the width; anchors for small ships.
model = dict(
    backbone=dict(
        _delete_=True,
        type='mmpretrain.ResNet',
        depth=50,
        stem_channels=16,
        base_channels=16,
        out_indices=(0, 1, 2, 3),
    ),
    neck=dict(in_channels=[64, 128, 256, 512], out_channels=64, num_outs=3),
    bbox_head=dict(
        num_classes=len(classes),
        in_channels=64,
        feat_channels=64,
        stacked_convs=2,
        anchor_generator=dict(octave_base_scale=2, strides=[8, 16, 32]),
    ),
)

# From scratch, so with an optimizer that needs no long warm-up.
optim_wrapper = dict(
    optimizer=dict(_delete_=True, type='AdamW', lr=1e-3, weight_decay=0.05),
)
max_epochs = 36
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=50),
    dict(
        type='CosineAnnealingLR',
        T_max=max_epochs,
        end=max_epochs,
        eta_min=0,
        by_epoch=True,
        convert_to_iter_based=True,
    ),
]
train_cfg = dict(max_epochs=max_epochs, val_interval=max_epochs)
auto_scale_lr = dict(base_batch_size=4)
default_hooks = dict(
    logger=dict(interval=10),
    checkpoint=dict(type='dynnet.AtomicCheckpointHook', max_keep_ckpts=1),
)
custom_imports = dict(imports=['dynnet'])
custom_hooks = [
    dict(type='dynnet.EpochSeedHook'),
    dict(type='dynnet.NonFiniteLossHook'),
]
randomness = dict(seed=0, deterministic=False)
