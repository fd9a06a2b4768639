# A small MSDNet on 10 000 pictures of Fashion-MNIST, quick enough for several seeds
# (randomness.seed).
_base_ = [
    '../_base_/models/msdnet_small.py',
    '../_base_/datasets/fashion_mnist_10k.py',
    '../_base_/schedules/sgd_cosine.py',
    '../_base_/evaluation/early_exit.py',
    '../_base_/default_runtime.py',
]

train_cfg = dict(max_epochs=30)
model = dict(backbone=dict(in_channels=1))
test_cfg = dict(calib_dataloader={{_base_.calib_dataloader}})
