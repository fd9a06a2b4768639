# A few DOTA tiles, on a CPU, from scratch: the pipeline, not a result.
_base_ = './rotated-retinanet-le90_arc-r18_1xb4-12e_ssdd-tiny.py'

model = dict(bbox_head=dict(num_classes=15))
data_root = '{{$DOTA_MINI_ROOT:data/dota_mini}}/'
dataset = dict(
    data_root=data_root, metainfo=dict(_delete_=True), ann_file='train/labelTxt/'
)
train_dataloader = dict(
    batch_size=2,
    dataset=dict(data_prefix=dict(img_path='train/images/'), **dataset),
)
val_dataloader = dict(
    dataset=dict(
        data_root=data_root,
        metainfo=dict(_delete_=True),
        ann_file='val/labelTxt/',
        data_prefix=dict(img_path='val/images/'),
    )
)
test_dataloader = val_dataloader
train_cfg = dict(max_epochs=3, val_interval=3)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=6),
]
auto_scale_lr = dict(base_batch_size=2)
