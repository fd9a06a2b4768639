# Your own set in COCO's format: CUSTOM_COCO_ROOT holds train.json, val.json and the
# folders train/ and val/ of pictures. Give the names of your classes below.
_base_ = './las-retinanet-r101-s4421-t0.5_8xb2-12e_coco.py'

data_root = '{{$CUSTOM_COCO_ROOT:data/custom_coco}}/'
classes = ('thing',)
metainfo = dict(classes=classes)

model = dict(
    bbox_head=dict(num_classes=len(classes)),
    # A smaller network for a smaller set; its own start, or None.
    backbone=dict(depth=50, init_cfg=None),
)
train_dataloader = dict(
    batch_size=4,
    dataset=dict(
        data_root=data_root,
        metainfo=metainfo,
        ann_file='train.json',
        data_prefix=dict(img='train/'),
    ),
)
val_dataloader = dict(
    dataset=dict(
        data_root=data_root,
        metainfo=metainfo,
        ann_file='val.json',
        data_prefix=dict(img='val/'),
    )
)
test_dataloader = val_dataloader
val_evaluator = dict(ann_file=data_root + 'val.json')
test_evaluator = val_evaluator
optim_wrapper = dict(optimizer=dict(lr=0.005))
