# Oriented R-CNN with ARC-ResNet-101 on HRSC2016.
_base_ = './oriented-rcnn-le90_arc-r50_1xb2-36e_hrsc.py'

model = dict(
    backbone=dict(
        depth=101,
        init_cfg=dict(checkpoint='checkpoints/arc-r101-n4_in1k.pth'),
    )
)
