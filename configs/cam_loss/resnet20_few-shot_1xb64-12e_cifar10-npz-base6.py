# Few-shot: train on six base classes, test by 4-way episodes of the four novel ones.
_base_ = [
    '../_base_/models/resnet20_cifar.py',
    '../_base_/datasets/cifar10_npz_base6.py',
    '../_base_/schedules/sgd_cosine_12e.py',
    '../_base_/evaluation/few_shot.py',
    '../_base_/default_runtime.py',
]

model = dict(head=dict(num_classes=6))
test_cfg = dict(num_ways=4)
