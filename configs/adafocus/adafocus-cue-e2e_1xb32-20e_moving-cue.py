# In the spirit of AdaFocusV2, not a reproduction: all parts at once through
# differentiable patches, without reinforcement.
_base_ = ['adafocus-cue-stage0_1xb32-3e_moving-cue.py']

model = dict(
    policy=dict(kind='continuous'),
    local_head=dict(
        type='dynnet.FrameMeanHead', num_classes=4, in_channels=128, dropout=0.0
    ),
    train_cfg=dict(stage='end_to_end'),
)

max_epochs = 20
# One learning rate for all parts: none is pretrained.
optim_wrapper = dict(clip_grad=dict(max_norm=5.0))
param_scheduler = [
    dict(
        type='CosineAnnealingLR',
        T_max=max_epochs,
        end=max_epochs,
        by_epoch=True,
        convert_to_iter_based=True,
    )
]
train_cfg = dict(max_epochs=max_epochs, val_interval=5)
