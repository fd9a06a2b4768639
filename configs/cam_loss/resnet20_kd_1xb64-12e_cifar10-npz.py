# The classic distillation alone.
_base_ = './resnet20_cam-match-kd_1xb64-12e_cifar10-npz.py'

model = dict(loss_match=dict(loss_weight=0.0))
