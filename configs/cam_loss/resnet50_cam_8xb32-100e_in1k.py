# ResNet-50 with CAM-loss: alpha is 0 for the first quarter.
_base_ = './resnet50_8xb32-100e_in1k.py'

model = dict(neck=None, head=dict(type='dynnet.CAMLinearClsHead'))
default_hooks = dict(
    cam_weight=dict(
        type='dynnet.ValueScheduleHook',
        targets='head.loss_cam.loss_weight',
        values=(0.0, 3.0),
        begin=25,
        end=25,
        name='cam_weight',
    )
)
