# The plain twin: Rotated RetinaNet with ResNet-101 on DOTA-v1.0, one scale.
_base_ = [
    './rotated-retinanet-le90_arc-r50_1xb2-12e_dota.py',
    '../_base_/models/plain_resnet.py',
]

model = dict(backbone={{_base_.plain_resnet101}})
optim_wrapper = dict(paramwise_cfg=dict(_delete_=True))
