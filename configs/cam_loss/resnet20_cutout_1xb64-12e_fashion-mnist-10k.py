# The baseline on Fashion-MNIST with Cutout of 16x16, half of the time.
_base_ = './resnet20_1xb64-12e_fashion-mnist-10k.py'

train_pipeline = [
    dict(type='RandomCrop', crop_size=32, padding=4),
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
    dict(type='Cutout', shape=16, pad_val=0, prob=0.5),
    dict(type='PackInputs'),
]
train_dataloader = dict(
    dataset=dict(dataset=dict(dataset=dict(pipeline=train_pipeline)))
)
