# Stage 0: the local encoder alone, by TSM's recipe. Its classifier is not used later.
_base_ = ['../models/adafocus_tsm_r50.py', '../video_runtime.py']

model = dict(
    train_cfg=dict(stage='focus'),
    local_head=dict(type='dynnet.FrameMeanHead', in_channels=2048, dropout=0.5),
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
