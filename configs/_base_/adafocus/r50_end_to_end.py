# All parts at once through differentiable patches, without reinforcement: in the spirit
# of AdaFocusV2, with this network's classifier. Not a reproduction.
_base_ = ['../models/adafocus_r50.py', '../video_runtime.py']

model = dict(
    train_cfg=dict(stage='end_to_end'),
    global_backbone=dict(pretrained='mmcls://mobilenet_v2'),
    backbone=dict(pretrained='torchvision://resnet50'),
    policy=dict(kind='continuous'),
)

optim_wrapper = dict(
    optimizer=dict(type='SGD', lr=0.002, momentum=0.9, weight_decay=1e-4),
    # The longest key that fits a parameter's name counts.
    paramwise_cfg=dict(
        custom_keys={
            'policy': dict(lr_mult=0.1),
            'global_backbone': dict(lr_mult=0.5),
            'cls_head': dict(lr_mult=5.0),
        }
    ),
)
param_scheduler = [dict(type='CosineAnnealingLR', T_max=50, end=50)]
train_cfg = dict(by_epoch=True, max_epochs=50, val_interval=5)
val_cfg = dict()
test_cfg = dict()
auto_scale_lr = dict(base_batch_size=32)
