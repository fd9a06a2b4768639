# RANet for 32x32 pictures: scales 1-2-3 (8, 16, 32 pixels), 4 layers in every block.
model = dict(
    type='dynnet.MultiExitClassifier',
    backbone=dict(
        type='dynnet.RANet',
        stem='cifar',
        num_blocks=2,
        block_step=2,
        step=4,
        step_mode='even',
        base_channels=16,
        growth_rate=6,
        growth_factor=(4, 2, 1),
        bottleneck_factor=(4, 2, 1),
        scale_list=(1, 2, 3),
        compress_factor=0.25,
        reduction=0.5,
    ),
    head=dict(
        type='dynnet.MultiExitHead',
        num_classes=10,
        # Both convolutions of an exit have 128 channels, whatever comes in.
        exit=dict(type='dynnet.ConvExit', channels=128, init='he'),
    ),
    criterion=dict(type='dynnet.MaxSoftmax'),
    test_cfg=dict(mode='simulate'),
)
