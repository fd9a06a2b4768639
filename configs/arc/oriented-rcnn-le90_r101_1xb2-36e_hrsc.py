# The plain twin: Oriented R-CNN with ResNet-101 on HRSC2016.
_base_ = [
    './oriented-rcnn-le90_arc-r50_1xb2-36e_hrsc.py',
    '../_base_/models/plain_resnet.py',
]

model = dict(backbone={{_base_.plain_resnet101}})
optim_wrapper = dict(paramwise_cfg=dict(_delete_=True))
