# Fine-tuned from the dense network beside it, which LAS_SMALL_CHECKPOINT names.
_base_ = [
    '../_base_/models/las_resnet_small.py',
    '../_base_/datasets/fashion_mnist_10k.py',
    '../_base_/schedules/sgd_cosine_6e.py',
    '../_base_/evaluation/gates.py',
    '../_base_/lasnet_runtime.py',
]

checkpoint = '{{$LAS_SMALL_CHECKPOINT:work_dirs/resnet50-small/epoch_10.pth}}'
dense = dict(
    in_channels=1,
    depth=50,
    num_stages=3,
    strides=(2, 2, 2),
    dilations=(1, 1, 1),
    out_indices=(2,),
    stem_channels=16,
    base_channels=16,
)
model = dict(
    backbone=dict(in_channels=1, gate=dict(type='dynnet.SpatialGate', keep_bias=2.0)),
    distillation=dict(
        teacher=dict(
            type='mmpretrain.ImageClassifier',
            backbone=dict(type='mmpretrain.ResNet_CIFAR', **dense),
            neck=dict(type='mmpretrain.GlobalAveragePooling'),
            head=dict(type='mmpretrain.LinearClsHead', num_classes=10, in_channels=256),
        ),
        checkpoint=checkpoint,
        temperature=4.0,
        loss_weight=0.5,
    ),
)
load_from = checkpoint

# Far fewer iterations than the paper's: a larger rate, and gates that learn as fast
# and begin less open.
optim_wrapper = dict(
    _delete_=True,
    optimizer=dict(type='SGD', lr=0.02, momentum=0.9, nesterov=True, weight_decay=5e-5),
)
custom_hooks = [
    dict(type='dynnet.EpochSeedHook'),
    dict(type='dynnet.NonFiniteLossHook'),
    dict(
        type='dynnet.ValueScheduleHook', targets='*.tau', values=(5.0, 0.1), rule='exp'
    ),
    dict(
        type='dynnet.ValueScheduleHook',
        targets='budget.progress',
        values=(0.0, 1.0),
        begin=0,
        end=2,  # of 6 epochs
        per_iter=False,
        name='bounds',
    ),
]
