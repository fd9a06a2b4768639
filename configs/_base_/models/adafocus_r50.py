# AdaFocus for untrimmed video: MobileNetV2 on whole frames, ResNet-50 on patches.
model = dict(
    type='dynnet.AdaFocus',
    num_classes=200,
    num_segments=16,
    frame_size=224,
    patch_size=128,
    global_backbone=dict(type='mmaction.MobileNetV2', pretrained=None),
    backbone=dict(type='mmaction.ResNet', depth=50, pretrained=None),
    policy=dict(in_channels=1280, map_size=7, mid_channels=32, num_actions=49),
    cls_head=dict(type='dynnet.RecurrentHead', in_channels=1280 + 2048, dropout=0.8),
    # Of stage 0; in later stages they are only carried along.
    global_head=dict(type='dynnet.FrameMeanHead', in_channels=1280, dropout=0.2),
    local_head=dict(type='dynnet.FrameMeanHead', in_channels=2048, dropout=0.0),
)
