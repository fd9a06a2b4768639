_base_ = './las-resnet50-s4421-t0.5_8xb64-100e_in1k.py'

model = dict(backbone=dict(granularity=(8, 4, 7, 1)))
