# L2W-DEN on exits of mmpretrain's ResNet, at a quarter of the width, and a small
# CIFAR-10 in an npz file.
_base_ = [
    '../_base_/models/resnet18_exits_cifar.py',
    '../_base_/datasets/cifar10_npz.py',
    '../_base_/schedules/l2w_cosine.py',
    '../_base_/evaluation/early_exit.py',
    '../_base_/l2w_runtime.py',
]

model = dict(
    type='dynnet.L2WClassifier',
    backbone=dict(backbone=dict(stem_channels=16, base_channels=16)),
)
train_dataloader = dict(batch_size=128)
train_cfg = dict(max_epochs=60)
test_cfg = dict(calib_dataloader={{_base_.calib_dataloader}})
