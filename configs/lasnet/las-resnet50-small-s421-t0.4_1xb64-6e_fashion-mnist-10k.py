_base_ = './las-resnet50-small-s421-t0.5_1xb64-6e_fashion-mnist-10k.py'

model = dict(budget=dict(target=0.4))
