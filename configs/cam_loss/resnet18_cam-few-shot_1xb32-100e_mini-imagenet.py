# The same with CAM-loss on the base classes.
_base_ = './resnet18_few-shot_1xb32-100e_mini-imagenet.py'

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
