# ResNet-50 with gates and its dense twin as teacher. Both start from torchvision's
# weights, which tools/model_converters/lasnet_to_dynnet.py --dense converts.
checkpoint = '{{$RESNET50_CHECKPOINT:checkpoints/resnet50_in1k.pth}}'
neck = dict(type='mmpretrain.GlobalAveragePooling')
head = dict(type='mmpretrain.LinearClsHead', num_classes=1000, in_channels=2048)

model = dict(
    type='dynnet.GatedClassifier',
    backbone=dict(type='dynnet.LASResNet', depth=50, granularity=(4, 4, 2, 1)),
    neck=neck,
    head=head,
    budget=dict(type='dynnet.MACsBudgetLoss', target=0.5, loss_weight=10.0),
    distillation=dict(
        teacher=dict(
            type='mmpretrain.ImageClassifier',
            backbone=dict(type='mmpretrain.ResNet', depth=50),
            neck=neck,
            head=head,
        ),
        checkpoint=checkpoint,
        temperature=4.0,
        loss_weight=0.5,
    ),
    test_cfg=dict(mode='simulate', backend='auto'),
)
