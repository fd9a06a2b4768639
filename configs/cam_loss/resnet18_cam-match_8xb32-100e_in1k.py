# CAAM-CAM matching: a ResNet-34 teaches a ResNet-18. CAM_TEACHER (environment) names
# its checkpoint; mmpretrain's own ResNet-34 fits.
_base_ = './resnet18_8xb32-100e_in1k.py'

model = dict(
    type='dynnet.CAMDistillClassifier',
    teacher=dict(
        type='ImageClassifier',
        backbone=dict(type='ResNet', depth=34),
        neck=dict(type='GlobalAveragePooling'),
        head=dict(type='LinearClsHead', num_classes=1000, in_channels=512),
    ),
    teacher_ckpt='{{$CAM_TEACHER:checkpoints/resnet34_in1k.pth}}',
    loss_match=dict(type='dynnet.CAMMatchingLoss', loss_weight=3.0),
)
