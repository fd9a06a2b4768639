# L2W-DEN on a small MSDNet and 10 000 pictures of Fashion-MNIST.
_base_ = [
    '../_base_/models/msdnet_small3.py',
    '../_base_/datasets/fashion_mnist_10k.py',
    '../_base_/schedules/l2w_cosine.py',
    '../_base_/evaluation/early_exit.py',
    '../_base_/l2w_runtime.py',
]

train_cfg = dict(max_epochs=3)
model = dict(
    type='dynnet.L2WClassifier',
    backbone=dict(in_channels=1),
    wpn=dict(hidden_size=500, centre='col', delta=0.8),
    target=15,
)
train_dataloader = dict(batch_size=128)
test_cfg = dict(calib_dataloader={{_base_.calib_dataloader}})
