# mmdet's backbones for the plain twins of ARC's detectors, by name.
plain_resnet50 = dict(
    _delete_=True,
    type='mmdet.ResNet',
    depth=50,
    num_stages=4,
    out_indices=(0, 1, 2, 3),
    frozen_stages=1,
    norm_cfg=dict(type='BN', requires_grad=True),
    norm_eval=True,
    style='pytorch',
    init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet50'),
)
plain_resnet101 = dict(
    plain_resnet50,
    depth=101,
    init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet101'),
)
