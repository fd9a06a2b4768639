# default_runtime.py with the hooks of L2W-DEN.
_base_ = './default_runtime.py'

custom_hooks = [
    dict(type='dynnet.EpochSeedHook'),
    dict(type='dynnet.NonFiniteLossHook'),
    dict(type='dynnet.L2WHook'),
    dict(type='dynnet.LogSampleWeightsHook', interval=10),
]
