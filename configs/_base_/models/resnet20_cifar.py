# ResNet-20 for 32x32 pictures with a plain linear classifier: the baseline of CAM-loss.
model = dict(
    type='ImageClassifier',
    backbone=dict(type='dynnet.CIFARResNet', depth=20),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(type='LinearClsHead', num_classes=10, in_channels=64, topk=(1,)),
)
