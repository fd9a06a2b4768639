# MSDNet for 32x32 pictures, trained by L2W-DEN with the published settings for CIFAR.
_base_ = './msdnet_cifar.py'

model = dict(
    type='dynnet.L2WClassifier',
    wpn=dict(hidden_size=500, num_layers=1, input_type='loss', centre='col', delta=0.8),
    target=15,
    meta_interval=1,
)
