# L2W-DEN on a small MSDNet and a small CIFAR-10 in an npz file.
_base_ = [
    '../_base_/models/msdnet_small3.py',
    '../_base_/datasets/cifar10_npz.py',
    '../_base_/schedules/l2w_cosine.py',
    '../_base_/evaluation/early_exit.py',
    '../_base_/l2w_runtime.py',
]

train_cfg = dict(max_epochs=3)
model = dict(type='dynnet.L2WClassifier')
train_dataloader = dict(batch_size=128)
test_cfg = dict(calib_dataloader={{_base_.calib_dataloader}})
