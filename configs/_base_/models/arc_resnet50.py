# The backbone of rotated detectors with ARC, in the place of mmrotate's ResNet-50:
# model = dict(backbone={{_base_.arc_resnet50}}), optim_wrapper = {{_base_.half_rate}}
arc_resnet50 = dict(
    _delete_=True,
    type='dynnet.ARCResNet',
    depth=50,
    kernel_number=4,
    out_indices=(0, 1, 2, 3),
    frozen_stages=1,
    norm_eval=True,
    # A converted ImageNet checkpoint, see configs/arc/README.md.
    init_cfg=dict(
        type='Pretrained',
        checkpoint='checkpoints/arc-r50-n4_in1k.pth',
        prefix='backbone.',
    ),
)
half_rate = dict(paramwise_cfg=dict(custom_keys={'backbone': dict(lr_mult=0.5)}))
