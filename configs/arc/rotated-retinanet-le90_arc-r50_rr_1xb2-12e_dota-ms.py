# Rotated RetinaNet with ARC-ResNet-50 on DOTA-v1.0, three scales, random rotation.
_base_ = [
    './rotated-retinanet-le90_arc-r50_1xb2-12e_dota.py',
    '../_base_/datasets/dota_ms_strict.py',
]

data_root = {{_base_.ms_root}}
train_dataloader = {{_base_.dota_ms_train}}
val_dataloader = {{_base_.dota_ms_test}}
test_dataloader = {{_base_.dota_ms_test}}
