# The plain twin: Rotated RetinaNet with ResNet-101 on DOTA-v1.0, one scale.
_base_ = './rotated-retinanet-le90_arc-r50_1xb2-12e_dota.py'

model = dict(
    backbone=dict(
        _delete_=True,
        type='mmdet.ResNet',
        depth=101,
        num_stages=4,
        out_indices=(0, 1, 2, 3),
        frozen_stages=1,
        norm_cfg=dict(type='BN', requires_grad=True),
        norm_eval=True,
        style='pytorch',
        init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet101'),
    )
)
optim_wrapper = dict(paramwise_cfg=dict(_delete_=True))
