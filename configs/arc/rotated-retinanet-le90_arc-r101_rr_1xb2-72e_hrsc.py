# Rotated RetinaNet with ARC-ResNet-101 on HRSC2016.
_base_ = './rotated-retinanet-le90_arc-r50_rr_1xb2-72e_hrsc.py'

model = dict(
    backbone=dict(
        depth=101,
        init_cfg=dict(checkpoint='checkpoints/arc-r101-n4_in1k.pth'),
    )
)
