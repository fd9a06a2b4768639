# Rotated RetinaNet with ARC-ResNet-50 on HRSC2016, random rotation.
_base_ = [
    'mmrotate::rotated_retinanet/rotated-retinanet-rbox-le90_r50_fpn_rr-6x_hrsc.py',
    '../_base_/models/arc_resnet50.py',
    '../_base_/rotated_runtime.py',
]

model = dict(backbone={{_base_.arc_resnet50}})
optim_wrapper = {{_base_.half_rate}}
train_dataloader = dict(
    persistent_workers=False, dataset=dict(type='dynnet.HRSCDatasetStrict')
)
val_dataloader = dict(dataset=dict(type='dynnet.HRSCDatasetStrict'))
test_dataloader = dict(dataset=dict(type='dynnet.HRSCDatasetStrict'))
auto_scale_lr = {{_base_.scale_by_batch}}
default_hooks = {{_base_.safe_hooks}}
