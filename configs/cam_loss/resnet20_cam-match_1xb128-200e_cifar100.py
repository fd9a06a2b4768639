# CAAM-CAM matching: a ResNet-56 teaches a ResNet-20. CAM_TEACHER (environment) names
# its checkpoint, trained with resnet56_1xb128-200e_cifar100.py or its CAM-loss form.
_base_ = './resnet20_1xb128-200e_cifar100.py'

model = dict(
    type='dynnet.CAMDistillClassifier',
    teacher=dict(
        type='ImageClassifier',
        backbone=dict(type='dynnet.CIFARResNet', depth=56),
        neck=dict(type='GlobalAveragePooling'),
        head=dict(type='LinearClsHead', num_classes=100, in_channels=64),
    ),
    teacher_ckpt='{{$CAM_TEACHER:checkpoints/resnet56_cifar100.pth}}',
    loss_match=dict(type='dynnet.CAMMatchingLoss', loss_weight=3.0),
)
