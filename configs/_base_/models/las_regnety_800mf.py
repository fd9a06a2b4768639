# RegNetY-800MF with gates and its dense twin as teacher. Both start from torchvision's
# weights, which tools/model_converters/lasnet_to_dynnet.py --dense converts.
checkpoint = '{{$REGNETY_800MF_CHECKPOINT:checkpoints/regnety_800mf_in1k.pth}}'
neck = dict(type='mmpretrain.GlobalAveragePooling')
head = dict(type='mmpretrain.LinearClsHead', num_classes=1000, in_channels=784)

model = dict(
    type='dynnet.GatedClassifier',
    backbone=dict(
        type='dynnet.LASRegNet', arch='regnety_800mf', granularity=(4, 4, 2, 1)
    ),
    neck=neck,
    head=head,
    budget=dict(type='dynnet.MACsBudgetLoss', target=0.5, loss_weight=10.0),
    distillation=dict(
        teacher=dict(
            type='mmpretrain.ImageClassifier',
            backbone=dict(type='dynnet.RegNetY', arch='regnety_800mf'),
            neck=neck,
            head=head,
        ),
        checkpoint=checkpoint,
        temperature=4.0,
        loss_weight=0.5,
    ),
    test_cfg=dict(mode='simulate', backend='auto'),
)
