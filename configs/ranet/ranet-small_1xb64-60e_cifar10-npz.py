# A small RANet on a small CIFAR-10 in an npz file.
_base_ = [
    '../_base_/models/ranet_small.py',
    '../_base_/datasets/cifar10_npz.py',
    '../_base_/schedules/sgd_cosine.py',
    '../_base_/evaluation/early_exit.py',
    '../_base_/default_runtime.py',
]

train_cfg = dict(max_epochs=60)
test_cfg = dict(calib_dataloader={{_base_.calib_dataloader}})
