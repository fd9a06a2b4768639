# A deeper net, as a teacher: cross-entropy alone.
_base_ = './resnet20_1xb64-12e_cifar10-npz.py'

model = dict(backbone=dict(depth=44))
