# MSDNet for 224x224 pictures, trained by L2W-DEN with the published settings for
# ImageNet.
_base_ = './msdnet_imagenet.py'

model = dict(
    type='dynnet.L2WClassifier',
    wpn=dict(hidden_size=500, num_layers=1, input_type='loss', centre='mat', delta=0.3),
    target=15,
    meta_interval=100,
)
