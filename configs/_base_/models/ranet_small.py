# A RANet that a CPU trains: the CIFAR form at half the width and half the depth.
# Three resolutions (8, 16, 32), six exits.
model = dict(
    type='dynnet.MultiExitClassifier',
    backbone=dict(
        type='dynnet.RANet',
        stem='cifar',
        num_blocks=2,
        block_step=2,
        step=2,
        step_mode='even',
        base_channels=8,
        growth_rate=4,
        growth_factor=(4, 2, 1),
        bottleneck_factor=(4, 2, 1),
        scale_list=(1, 2, 3),
    ),
    head=dict(
        type='dynnet.MultiExitHead',
        num_classes=10,
        exit=dict(type='dynnet.ConvExit', channels=64, init='he'),
    ),
    criterion=dict(type='dynnet.MaxSoftmax'),
    test_cfg=dict(mode='simulate'),
)
