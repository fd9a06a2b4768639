# L2W-DEN on the small RANet and 10 000 pictures of Fashion-MNIST.
_base_ = [
    '../_base_/models/ranet_small.py',
    '../_base_/datasets/fashion_mnist_10k.py',
    '../_base_/schedules/l2w_cosine.py',
    '../_base_/evaluation/early_exit.py',
    '../_base_/l2w_runtime.py',
]

model = dict(type='dynnet.L2WClassifier', backbone=dict(in_channels=1))
train_dataloader = dict(batch_size=128)
train_cfg = dict(max_epochs=30)
test_cfg = dict(calib_dataloader={{_base_.calib_dataloader}})
