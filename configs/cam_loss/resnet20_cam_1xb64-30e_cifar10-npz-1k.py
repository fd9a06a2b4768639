# CAM-loss on few pictures.
_base_ = './resnet20_1xb64-30e_cifar10-npz-1k.py'

model = dict(neck=None, head=dict(type='dynnet.CAMLinearClsHead'))
default_hooks = dict(
    cam_weight=dict(
        type='dynnet.ValueScheduleHook',
        targets='head.loss_cam.loss_weight',
        values=(0.0, 3.0),
        begin=7,
        end=7,
        name='cam_weight',
    )
)
