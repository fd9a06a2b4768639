# CAM-loss and Cutout on 10 000 pictures of Fashion-MNIST.
_base_ = './resnet20_cutout_1xb64-12e_fashion-mnist-10k.py'

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
