# A gated bottleneck ResNet of three stages (3, 4, 6 blocks) for 32x32 pictures at a
# quarter of the width; maps of 16, 8 and 4, each in a grid of 4x4 patches.
model = dict(
    type='dynnet.GatedClassifier',
    backbone=dict(
        type='dynnet.LASResNetCIFAR',
        depth=50,
        num_stages=3,
        strides=(2, 2, 2),
        dilations=(1, 1, 1),
        out_indices=(2,),
        stem_channels=16,
        base_channels=16,
        granularity=(4, 2, 1),
    ),
    neck=dict(type='mmpretrain.GlobalAveragePooling'),
    head=dict(type='mmpretrain.LinearClsHead', num_classes=10, in_channels=256),
    budget=dict(type='dynnet.MACsBudgetLoss', target=0.5, loss_weight=10.0),
    test_cfg=dict(mode='simulate', backend='auto'),
)
