# imagenet.py with 64 pictures per GPU.
_base_ = './imagenet.py'

train_dataloader = dict(batch_size=64)
