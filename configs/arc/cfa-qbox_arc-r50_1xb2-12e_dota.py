# CFA with ARC-ResNet-50 on DOTA-v1.0, one scale.
# Three of its ops have no CPU kernel: it trains on a GPU.
_base_ = [
    'mmrotate::cfa/cfa-qbox_r50_fpn_1x_dota.py',
    '../_base_/models/arc_resnet50.py',
    '../_base_/datasets/dota_strict.py',
    '../_base_/rotated_runtime.py',
]

model = dict(backbone={{_base_.arc_resnet50}})
optim_wrapper = {{_base_.half_rate}}
train_dataloader = {{_base_.dota_train}}
val_dataloader = {{_base_.dota_val}}
test_dataloader = {{_base_.dota_test}}
test_evaluator = {{_base_.dota_zip}}
custom_hooks = [
    dict(type='dynnet.EpochSeedHook'),
    dict(type='dynnet.NonFiniteLossHook'),
    dict(
        type='dynnet.RequireDeviceHook',
        reason='CFA needs convex_iou, convex_giou and min_area_polygons',
    ),
]
auto_scale_lr = {{_base_.scale_by_batch}}
default_hooks = {{_base_.safe_hooks}}
