# A dense network of about half the MACs: the rival of the gated ones. It is trained as
# long as they and their start together.
_base_ = [
    '../_base_/models/resnet_small.py',
    '../_base_/datasets/fashion_mnist_10k.py',
    '../_base_/schedules/sgd_cosine_16e.py',
    '../_base_/evaluation/accuracy.py',
    '../_base_/default_runtime.py',
]

model = dict(
    backbone=dict(in_channels=1, stem_channels=11, base_channels=11),
    head=dict(in_channels=176),
)
