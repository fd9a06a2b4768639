# A small RANet on Fashion-MNIST.
_base_ = [
    '../_base_/models/ranet_small.py',
    '../_base_/datasets/fashion_mnist.py',
    '../_base_/schedules/sgd_cosine.py',
    '../_base_/evaluation/early_exit.py',
    '../_base_/default_runtime.py',
]

train_cfg = dict(max_epochs=15)
model = dict(backbone=dict(in_channels=1))
test_cfg = dict(calib_dataloader={{_base_.calib_dataloader}})
