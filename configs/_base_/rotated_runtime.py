# What every rotated detector of dynnet adds to mmrotate's configs.
custom_imports = dict(imports=['dynnet'])
custom_hooks = [
    dict(type='dynnet.EpochSeedHook'),
    dict(type='dynnet.NonFiniteLossHook'),
]
randomness = dict(seed=0, deterministic=False)
# For configs on mmrotate's bases, which define these two themselves.
scale_by_batch = dict(base_batch_size=2)
safe_hooks = dict(checkpoint=dict(type='dynnet.AtomicCheckpointHook'))
