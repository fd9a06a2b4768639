# An MSDNet that a CPU trains, about as large as ranet_small.py: the CIFAR form at half
# the width. Three scales (32, 16, 8), four exits.
model = dict(
    type='dynnet.MultiExitClassifier',
    backbone=dict(
        type='dynnet.MSDNet',
        stem='cifar',
        num_blocks=4,
        base=2,
        step=2,
        step_mode='even',
        base_channels=8,
        growth_rate=4,
        growth_factor=(1, 2, 4),
        bottleneck_factor=(1, 2, 4),
        prune='max',
        reduction=0.5,
    ),
    head=dict(
        type='dynnet.MultiExitHead',
        num_classes=10,
        exit=dict(type='dynnet.ConvExit', channels=64),
    ),
    criterion=dict(type='dynnet.MaxSoftmax'),
    test_cfg=dict(mode='simulate'),
)
