# A small AdaFocus for frames of 96 pixels and clips of 8 frames. The global encoder
# sees every fourth pixel: enough to find a coloured disc, too little for its stripes.
model = dict(
    type='dynnet.AdaFocus',
    frame_size=96,
    glance_size=24,
    patch_size=32,
    num_segments=8,
    global_backbone=dict(
        type='mmpretrain.ResNet_CIFAR',
        depth=18,
        stem_channels=8,
        base_channels=8,
        num_stages=3,
        strides=(1, 2, 2),
        dilations=(1, 1, 1),
        out_indices=(2,),
    ),
    backbone=dict(
        type='mmpretrain.ResNet',
        depth=18,
        stem_channels=16,
        base_channels=16,
        norm_eval=False,
    ),
    policy=dict(
        in_channels=32, map_size=6, mid_channels=16, hidden_channels=128, num_actions=25
    ),
    global_head=dict(
        type='dynnet.FrameMeanHead', num_classes=4, in_channels=32, dropout=0.0
    ),
    cls_head=dict(
        type='dynnet.RecurrentHead',
        num_classes=4,
        in_channels=32 + 128,
        hidden_channels=64,
        dropout=0.2,
    ),
)
