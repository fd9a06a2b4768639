# AdaFocus with temporal shift: MobileNetV2 on 8 whole frames, ResNet-50 on a patch of
# 12 others.
model = dict(
    type='dynnet.AdaFocusTSM',
    num_classes=174,
    num_glance=8,
    num_focus=12,
    frame_size=224,
    patch_size=144,
    global_backbone=dict(
        type='mmaction.MobileNetV2TSM',
        num_segments=8,
        pretrained=None,
        pretrained2d=False,
    ),
    backbone=dict(
        type='mmaction.ResNetTSM',
        depth=50,
        num_segments=12,
        pretrained=None,
        pretrained2d=False,
    ),
    policy=dict(
        in_channels=8 * 1280,
        map_size=7,
        mid_channels=64,
        kind='continuous',
        action_std=0.25,
        with_bn=True,
    ),
    cls_head=dict(type='dynnet.FrameMeanHead', in_channels=2048, dropout=0.5),
    # Half of the prediction.
    global_head=dict(type='dynnet.FrameMeanHead', in_channels=1280, dropout=0.5),
)
