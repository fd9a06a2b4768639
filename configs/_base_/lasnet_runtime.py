# Training with gates: the temperature falls by equal factors, per iteration, from 5 to
# 0.1; the bounds of the blocks' MACs are open after a third of the training.
_base_ = './default_runtime.py'

custom_hooks = [
    dict(type='dynnet.EpochSeedHook'),
    dict(type='dynnet.NonFiniteLossHook'),
    dict(
        type='dynnet.ValueScheduleHook', targets='*.tau', values=(5.0, 0.1), rule='exp'
    ),
    dict(
        type='dynnet.ValueScheduleHook',
        targets='budget.progress',
        values=(0.0, 1.0),
        begin=0,
        end=33,  # of 100 epochs
        per_iter=False,
        name='bounds',
    ),
]
