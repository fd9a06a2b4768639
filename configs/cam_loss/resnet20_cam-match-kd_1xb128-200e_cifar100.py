# CAAM-CAM matching and the classic distillation of class probabilities.
_base_ = './resnet20_cam-match_1xb128-200e_cifar100.py'

model = dict(kd=dict(loss_weight=1.0, temperature=4.0))
