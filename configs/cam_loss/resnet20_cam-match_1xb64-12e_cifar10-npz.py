# CAAM-CAM matching: a ResNet-44 teaches a ResNet-20. CAM_TEACHER (environment) names
# its checkpoint, trained with resnet44_1xb64-12e_cifar10-npz.py.
_base_ = './resnet20_1xb64-12e_cifar10-npz.py'

model = dict(
    type='dynnet.CAMDistillClassifier',
    teacher=dict(
        type='ImageClassifier',
        backbone=dict(type='dynnet.CIFARResNet', depth=44),
        neck=dict(type='GlobalAveragePooling'),
        head=dict(type='LinearClsHead', num_classes=10, in_channels=64),
    ),
    teacher_ckpt='{{$CAM_TEACHER:checkpoints/resnet44_cifar10_npz.pth}}',
    loss_match=dict(type='dynnet.CAMMatchingLoss', loss_weight=3.0),
)
