# What every rotated detector of dynnet adds to mmrotate's configs.
custom_imports = dict(imports=['dynnet'])
custom_hooks = [
    dict(type='dynnet.EpochSeedHook'),
    dict(type='dynnet.NonFiniteLossHook'),
]
randomness = dict(seed=0, deterministic=False)
