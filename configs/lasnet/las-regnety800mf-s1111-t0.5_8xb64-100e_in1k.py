_base_ = './las-regnety800mf-s4421-t0.5_8xb64-100e_in1k.py'

model = dict(backbone=dict(granularity=(1, 1, 1, 1)))
