# Stage 0 of the small example: the global encoder on whole frames, by itself.
_base_ = [
    '../_base_/models/adafocus_cue.py',
    '../_base_/datasets/moving_cue.py',
    '../_base_/video_runtime.py',
]

model = dict(train_cfg=dict(stage='glance'))

max_epochs = 3
optim_wrapper = dict(
    optimizer=dict(type='SGD', lr=0.05, momentum=0.9, weight_decay=1e-4)
)
param_scheduler = [
    dict(
        type='CosineAnnealingLR',
        T_max=max_epochs,
        end=max_epochs,
        by_epoch=True,
        convert_to_iter_based=True,
    )
]
train_cfg = dict(by_epoch=True, max_epochs=max_epochs, val_interval=max_epochs)
val_cfg = dict()
test_cfg = dict()
auto_scale_lr = dict(base_batch_size=32)
