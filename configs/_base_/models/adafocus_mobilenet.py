# AdaFocus with MobileNetV2 as both encoders, for small sets: frames of 160 pixels,
# patches of 96. The local encoder of the paper is a ResNet-50.
model = dict(
    type='dynnet.AdaFocus',
    frame_size=160,
    patch_size=96,
    num_segments=6,
    global_backbone=dict(
        type='mmaction.MobileNetV2', pretrained=None, out_indices=(7,)
    ),
    backbone=dict(
        type='mmaction.MobileNetV2', pretrained=None, out_indices=(7,), norm_eval=True
    ),
    policy=dict(
        in_channels=1280,
        map_size=5,
        mid_channels=32,
        hidden_channels=256,
        num_actions=49,
    ),
    cls_head=dict(
        type='dynnet.RecurrentHead',
        num_classes=2,
        in_channels=1280 + 1280,
        hidden_channels=128,
        dropout=0.5,
    ),
)
