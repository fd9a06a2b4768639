# Gates on the dense detector beside it, which RETINANET_SMALL_CHECKPOINT names. A
# detector without gates trained on from the same start is the fair comparison.
_base_ = './retinanet-resnet50-small_1xb4-36e_ssdd-tiny.py'

load_from = (
    '{{$RETINANET_SMALL_CHECKPOINT:work_dirs/retinanet-resnet50-small/epoch_36.pth}}'
)
model = dict(
    type='dynnet.GatedDetector',
    detector='mmdet.RetinaNet',
    budget=dict(
        type='dynnet.MACsBudgetLoss', target=0.5, loss_weight=10.0, with_bounds=False
    ),
    gates=dict(mode='simulate', backend='auto'),
    backbone=dict(
        type='dynnet.LASResNet',
        granularity=(4, 4, 2, 1),
        # The start has no gates: theirs begin less open than the paper's.
        gate=dict(type='dynnet.SpatialGate', keep_bias=2.0),
    ),
)

max_epochs = 12
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=50),
    dict(
        type='CosineAnnealingLR',
        T_max=max_epochs,
        end=max_epochs,
        eta_min=0,
        by_epoch=True,
        convert_to_iter_based=True,
    ),
]
train_cfg = dict(max_epochs=max_epochs, val_interval=max_epochs)
# Few iterations: a larger budget weight than the paper's 1, and a temperature that
# falls as in its classification.
custom_hooks = [
    dict(type='dynnet.EpochSeedHook'),
    dict(type='dynnet.NonFiniteLossHook'),
    dict(
        type='dynnet.ValueScheduleHook', targets='*.tau', values=(5.0, 0.1), rule='exp'
    ),
]
val_evaluator = [{{_base_.val_evaluator}}, dict(type='dynnet.GateCostMetric')]
test_evaluator = val_evaluator
