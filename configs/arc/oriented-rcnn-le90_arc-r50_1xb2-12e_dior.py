# Oriented R-CNN with ARC-ResNet-50 on DIOR-R.
_base_ = './oriented-rcnn-le90_arc-r50_1xb2-12e_dota.py'

model = dict(roi_head=dict(bbox_head=dict(num_classes=20)))
data_root = 'data/DIOR/'
load = [
    dict(type='mmdet.LoadImageFromFile'),
    dict(type='mmdet.LoadAnnotations', with_bbox=True, box_type='qbox'),
    dict(type='ConvertBoxType', box_type_mapping=dict(gt_bboxes='rbox')),
]
train_pipeline = [
    *load,
    dict(type='mmdet.Resize', scale=(800, 800), keep_ratio=True),
    dict(
        type='mmdet.RandomFlip',
        prob=0.75,
        direction=['horizontal', 'vertical', 'diagonal'],
    ),
    dict(type='mmdet.PackDetInputs'),
]
test_pipeline = [
    load[0],
    dict(type='mmdet.Resize', scale=(800, 800), keep_ratio=True),
    *load[1:],
    dict(
        type='mmdet.PackDetInputs',
        meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor'),
    ),
]
train = dict(
    type='DIORDataset',
    data_root=data_root,
    data_prefix=dict(img_path='JPEGImages-trainval'),
    filter_cfg=dict(filter_empty_gt=True),
    pipeline=train_pipeline,
)
train_dataloader = dict(
    persistent_workers=False,
    dataset=dict(
        _delete_=True,
        type='ConcatDataset',
        ignore_keys=['DATASET_TYPE'],
        datasets=[
            dict(ann_file='ImageSets/Main/train.txt', **train),
            dict(ann_file='ImageSets/Main/val.txt', **train),
        ],
    ),
)
test = dict(
    _delete_=True,
    type='DIORDataset',
    data_root=data_root,
    ann_file='ImageSets/Main/test.txt',
    data_prefix=dict(img_path='JPEGImages-test'),
    test_mode=True,
    pipeline=test_pipeline,
)
val_dataloader = dict(dataset=test)
test_dataloader = dict(dataset=test)
test_evaluator = dict(_delete_=True, type='DOTAMetric', metric='mAP')
