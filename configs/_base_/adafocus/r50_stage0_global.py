# Stage 0: the global encoder alone, on whole frames, from ImageNet weights.
# The published loop runs one epoch more, at a learning rate of zero.
_base_ = ['../models/adafocus_r50.py', '../video_runtime.py']

model = dict(
    train_cfg=dict(stage='glance'),
    global_backbone=dict(pretrained='mmcls://mobilenet_v2'),
    # Not trained yet: the checkpoint carries it on to the next stage.
    backbone=dict(pretrained='torchvision://resnet50'),
)

optim_wrapper = dict(
    optimizer=dict(type='SGD', lr=0.01, momentum=0.9, weight_decay=0.0001)
)
param_scheduler = [dict(type='CosineAnnealingLR', T_max=15, end=15)]
train_cfg = dict(by_epoch=True, max_epochs=15, val_interval=5)
val_cfg = dict()
test_cfg = dict()
auto_scale_lr = dict(base_batch_size=64)
