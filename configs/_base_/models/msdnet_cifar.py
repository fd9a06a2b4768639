# MSDNet for 32x32 pictures: three scales (32, 16, 8 pixels), 5 blocks that grow.
model = dict(
    type='dynnet.MultiExitClassifier',
    backbone=dict(
        type='dynnet.MSDNet',
        stem='cifar',
        num_blocks=5,
        base=1,
        step=1,
        step_mode='lin_grow',
        base_channels=16,
        growth_rate=6,
        growth_factor=(1, 2, 4),
        bottleneck_factor=(1, 2, 4),
        prune='max',
        reduction=0.5,
        bottleneck=True,
    ),
    head=dict(
        type='dynnet.MultiExitHead',
        num_classes=10,
        # The published nets keep PyTorch's initialisation: their own never runs.
        exit=dict(type='dynnet.ConvExit', channels=128, init='torch'),
    ),
    criterion=dict(type='dynnet.MaxSoftmax'),
    test_cfg=dict(mode='simulate'),
)
