# Oriented R-CNN with ARC-ResNet-50 on DOTA-v1.5, one scale.
_base_ = './oriented-rcnn-le90_arc-r50_1xb2-12e_dota.py'

model = dict(roi_head=dict(bbox_head=dict(num_classes=16)))
data_root = 'data/split_ss_dota1_5/'
dataset = dict(type='dynnet.DOTAv15DatasetStrict', data_root=data_root)
train_dataloader = dict(dataset=dataset)
val_dataloader = dict(dataset=dataset)
test_dataloader = dict(dataset=dataset)
