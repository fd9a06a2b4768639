# mmpretrain's ResNet-18 for 32x32 pictures with an exit after each of its four stages.
model = dict(
    type='dynnet.MultiExitClassifier',
    backbone=dict(
        type='dynnet.StagedBackbone',
        backbone=dict(
            type='mmpretrain.ResNet_CIFAR', depth=18, out_indices=(0, 1, 2, 3)
        ),
    ),
    head=dict(
        type='dynnet.MultiExitHead',
        num_classes=10,
        exit=dict(type='dynnet.LinearExit'),
    ),
    criterion=dict(type='dynnet.MaxSoftmax'),
    test_cfg=dict(mode='simulate'),
)
