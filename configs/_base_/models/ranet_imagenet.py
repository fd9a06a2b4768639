# RANet for 224x224 pictures: scales 1-2-3-4 (7, 14, 28, 56 pixels after the stem).
model = dict(
    type='dynnet.MultiExitClassifier',
    backbone=dict(
        type='dynnet.RANet',
        stem='imagenet',
        num_blocks=2,
        block_step=2,
        step=8,
        step_mode='even',
        base_channels=32,
        growth_rate=16,
        growth_factor=(4, 2, 2, 1),
        bottleneck_factor=(4, 2, 2, 1),
        scale_list=(1, 2, 3, 4),
        compress_factor=0.25,
        reduction=0.5,
    ),
    head=dict(
        type='dynnet.MultiExitHead',
        num_classes=1000,
        # channels=None: both convolutions of an exit keep the width that comes in.
        exit=dict(type='dynnet.ConvExit', channels=None, init='he'),
        topk=(1, 5),
    ),
    criterion=dict(type='dynnet.MaxSoftmax'),
    test_cfg=dict(mode='simulate'),
)
