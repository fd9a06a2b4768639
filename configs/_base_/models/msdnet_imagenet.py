# MSDNet for 224x224 pictures: four scales (56, 28, 14, 7 pixels after the stem).
model = dict(
    type='dynnet.MultiExitClassifier',
    backbone=dict(
        type='dynnet.MSDNet',
        stem='imagenet',
        num_blocks=5,
        base=4,
        step=4,
        step_mode='even',
        base_channels=32,
        growth_rate=16,
        growth_factor=(1, 2, 4, 4),
        bottleneck_factor=(1, 2, 4, 4),
        prune='max',
        reduction=0.5,
        bottleneck=True,
    ),
    head=dict(
        type='dynnet.MultiExitHead',
        num_classes=1000,
        # channels=None: both convolutions of an exit keep the width that comes in.
        exit=dict(type='dynnet.ConvExit', channels=None, init='torch'),
        topk=(1, 5),
    ),
    criterion=dict(type='dynnet.MaxSoftmax'),
    test_cfg=dict(mode='simulate'),
)
