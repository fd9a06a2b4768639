# Frame skipping by a learned gate: a RECONSTRUCTION, the published code has none.
# The penalty of a close look rises from 0, so that the gate does not shut at once.
_base_ = ['r50_stage2.py']

model = dict(policy=dict(with_gate=True), train_cfg=dict(_delete_=True, stage='gate'))
custom_hooks = [
    dict(type='dynnet.EpochSeedHook'),
    dict(type='dynnet.NonFiniteLossHook'),
    dict(type='dynnet.BrokenClipsHook'),
    dict(
        type='dynnet.ValueScheduleHook',
        targets='skip_penalty',
        values=(0.0, 0.02),
        rule='linear',
    ),
]
