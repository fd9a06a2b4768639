# Few-shot on CUB-200-2011: train on the base classes, test by 5-way episodes of the
# novel.
_base_ = [
    '../_base_/models/resnet_imagenet.py',
    '../_base_/datasets/cub_few_shot.py',
    '../_base_/schedules/finetune_sgd_100e.py',
    '../_base_/evaluation/few_shot.py',
    '../_base_/default_runtime.py',
]

model = dict(backbone=dict(depth=18), head=dict(num_classes=100, in_channels=512))
optim_wrapper = dict(optimizer=dict(lr=0.05))  # from scratch
