# Stage 0: the global encoder alone, by TSM's recipe, from ImageNet weights. The weight
# decay is that of mmaction2's TSM.
_base_ = ['../models/adafocus_tsm_r50.py', '../video_runtime.py']

model = dict(
    train_cfg=dict(stage='glance'),
    global_backbone=dict(pretrained='mmcls://mobilenet_v2', pretrained2d=True),
    # Not trained yet: the checkpoint carries it on to the next stage.
    backbone=dict(pretrained='torchvision://resnet50', pretrained2d=True),
)

optim_wrapper = dict(
    optimizer=dict(type='SGD', lr=0.01, momentum=0.9, weight_decay=0.0005),
    clip_grad=dict(max_norm=20),
)
param_scheduler = [dict(type='MultiStepLR', milestones=[20, 40], gamma=0.1)]
train_cfg = dict(by_epoch=True, max_epochs=50, val_interval=5)
val_cfg = dict()
test_cfg = dict()
auto_scale_lr = dict(base_batch_size=64)
