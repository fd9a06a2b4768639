# Frame skipping (a reconstruction): the policy learns a gate besides the places. The
# penalty of a close look rises from 0, so that the gate does not shut at once.
_base_ = ['adafocus-cue-stage2_1xb32-20e_moving-cue.py']

model = dict(policy=dict(with_gate=True), train_cfg=dict(stage='gate'))
load_from = 'work_dirs/adafocus-cue-stage3_1xb32-4e_moving-cue/epoch_4.pth'

train_cfg = dict(max_epochs=8, val_interval=8)
custom_hooks = [
    dict(type='dynnet.EpochSeedHook'),
    dict(type='dynnet.NonFiniteLossHook'),
    dict(type='dynnet.BrokenClipsHook'),
    dict(
        type='dynnet.ValueScheduleHook',
        targets='skip_penalty',
        values=(0.0, 0.1),
        rule='linear',
    ),
]
