# ResNet-56 with CAM-loss: alpha is 0 for the first quarter.
_base_ = './resnet56_1xb128-200e_cifar100.py'

model = dict(neck=None, head=dict(type='dynnet.CAMLinearClsHead'))
default_hooks = dict(
    cam_weight=dict(
        type='dynnet.ValueScheduleHook',
        targets='head.loss_cam.loss_weight',
        values=(0.0, 3.0),
        begin=50,
        end=50,
        name='cam_weight',
    )
)
