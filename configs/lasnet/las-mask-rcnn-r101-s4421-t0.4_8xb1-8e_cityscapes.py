# Cityscapes' instances with a gated backbone: mmdet's config, another backbone.
_base_ = 'mmdet::cityscapes/mask-rcnn_r50_fpn_1x_cityscapes.py'

# Of LASNet's classifier with the same granularity and target.
checkpoint = '{{$LAS_RESNET101_CHECKPOINT:checkpoints/las-resnet101-s4421-t0.4.pth}}'

model = dict(
    type='dynnet.GatedDetector',
    detector='mmdet.MaskRCNN',
    budget=dict(
        type='dynnet.MACsBudgetLoss', target=0.4, loss_weight=1.0, with_bounds=False
    ),
    gates=dict(mode='simulate', backend='auto'),
    backbone=dict(
        _delete_=True,
        type='dynnet.LASResNet',
        depth=101,
        granularity=(4, 4, 2, 1),
        gate=dict(type='dynnet.SpatialGate', tau=0.1),  # constant; see the README
        out_indices=(0, 1, 2, 3),
        frozen_stages=1,
        norm_eval=True,
        init_cfg=dict(type='Pretrained', checkpoint=checkpoint, prefix='backbone.'),
    ),
)
optim_wrapper = dict(
    paramwise_cfg=dict(custom_keys=dict(backbone=dict(lr_mult=0.5, decay_mult=0.9))),
)
# Batches of 8 x 1.
auto_scale_lr = dict(base_batch_size=8)
custom_imports = dict(imports=['dynnet'])
