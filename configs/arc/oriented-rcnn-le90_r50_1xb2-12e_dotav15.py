# The plain twin: Oriented R-CNN with ResNet-50 on DOTA-v1.5.
_base_ = [
    './oriented-rcnn-le90_arc-r50_1xb2-12e_dotav15.py',
    '../_base_/models/plain_resnet.py',
]

model = dict(backbone={{_base_.plain_resnet50}})
optim_wrapper = dict(paramwise_cfg=dict(_delete_=True))
