_base_ = './las-faster-rcnn-r101-s4421-t0.5_8xb2-12e_coco.py'

checkpoint = '{{$LAS_RESNET101_CHECKPOINT:checkpoints/las-resnet101-s4471-t0.5.pth}}'
model = dict(
    backbone=dict(granularity=(4, 4, 7, 1), init_cfg=dict(checkpoint=checkpoint))
)
