# The baseline: ResNet-18 with cross-entropy alone.
_base_ = './resnet50_8xb32-100e_in1k.py'

model = dict(backbone=dict(depth=18), head=dict(in_channels=512))
