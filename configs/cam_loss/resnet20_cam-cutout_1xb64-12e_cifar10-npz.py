# CAM-loss and Cutout.
_base_ = './resnet20_cutout_1xb64-12e_cifar10-npz.py'

model = dict(neck=None, head=dict(type='dynnet.CAMLinearClsHead'))
default_hooks = dict(
    cam_weight=dict(
        type='dynnet.ValueScheduleHook',
        targets='head.loss_cam.loss_weight',
        values=(0.0, 3.0),
        begin=3,
        end=3,
        name='cam_weight',
    )
)
