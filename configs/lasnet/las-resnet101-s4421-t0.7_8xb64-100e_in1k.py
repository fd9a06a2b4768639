_base_ = './las-resnet101-s4421-t0.5_8xb64-100e_in1k.py'

model = dict(budget=dict(target=0.7))
