_base_ = [
    '../_base_/models/las_resnet101.py',
    '../_base_/datasets/imagenet_bs64.py',
    '../_base_/schedules/imagenet_las_resnet_100e.py',
    '../_base_/evaluation/gates.py',
    '../_base_/lasnet_runtime.py',
]

model = dict(backbone=dict(granularity=(4, 4, 2, 1)), budget=dict(target=0.5))
load_from = {{_base_.checkpoint}}
