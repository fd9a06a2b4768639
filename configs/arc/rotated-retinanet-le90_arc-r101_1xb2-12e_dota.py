# Rotated RetinaNet with ARC-ResNet-101 on DOTA-v1.0, one scale.
_base_ = './rotated-retinanet-le90_arc-r50_1xb2-12e_dota.py'

model = dict(
    backbone=dict(
        depth=101,
        init_cfg=dict(checkpoint='checkpoints/arc-r101-n4_in1k.pth'),
    )
)
