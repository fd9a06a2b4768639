# What every video configuration of dynnet shares: default_runtime.py in mmaction2's
# scope, with mmaction2's visualizer, and broken clips counted.
_base_ = ['default_runtime.py']

default_scope = 'mmaction'
custom_hooks = [
    dict(type='dynnet.EpochSeedHook'),
    dict(type='dynnet.NonFiniteLossHook'),
    dict(type='dynnet.BrokenClipsHook'),
]
default_hooks = dict(
    visualization=dict(_delete_=True, type='VisualizationHook', enable=False)
)
visualizer = dict(type='ActionVisualizer', vis_backends=[dict(type='LocalVisBackend')])
