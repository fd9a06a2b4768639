# Exits on mmpretrain's ResNet: one after each of the four stages of ResNet-18 for
# CIFAR. Our own choice, not a published net.
_base_ = [
    '../_base_/models/resnet18_exits_cifar.py',
    '../_base_/datasets/cifar10_holdout.py',
    '../_base_/schedules/cifar_sgd_300e.py',
    '../_base_/evaluation/early_exit.py',
    '../_base_/default_runtime.py',
]

test_cfg = dict(calib_dataloader={{_base_.calib_dataloader}})
