# Exits on mmpretrain's ResNet: one after each of the four stages, at a quarter of the
# width, so that a CPU trains it.
_base_ = [
    '../_base_/models/resnet18_exits_cifar.py',
    '../_base_/datasets/cifar10_npz.py',
    '../_base_/schedules/sgd_cosine.py',
    '../_base_/evaluation/early_exit.py',
    '../_base_/default_runtime.py',
]

train_cfg = dict(max_epochs=60)
model = dict(backbone=dict(backbone=dict(stem_channels=16, base_channels=16)))
test_cfg = dict(calib_dataloader={{_base_.calib_dataloader}})
