# R3Det with ARC-ResNet-50 on DOTA-v1.0, one scale.
_base_ = [
    'mmrotate::r3det/r3det-oc_r50_fpn_1x_dota.py',
    '../_base_/rotated_runtime.py',
]

model = dict(
    backbone=dict(
        _delete_=True,
        type='dynnet.ARCResNet',
        depth=50,
        kernel_number=4,
        out_indices=(0, 1, 2, 3),
        frozen_stages=1,
        norm_eval=True,
        # A converted ImageNet checkpoint, see README.md.
        init_cfg=dict(
            type='Pretrained',
            checkpoint='checkpoints/arc-r50-n4_in1k.pth',
            prefix='backbone.',
        ),
    )
)
optim_wrapper = dict(paramwise_cfg=dict(custom_keys={'backbone': dict(lr_mult=0.5)}))
train_dataloader = dict(
    persistent_workers=False, dataset=dict(type='dynnet.DOTADatasetStrict')
)
val_dataloader = dict(dataset=dict(type='dynnet.DOTADatasetStrict'))
# Testing writes the zip for the evaluation server.
test_dataloader = dict(
    dataset=dict(
        type='dynnet.DOTADatasetStrict',
        ann_file='',
        data_prefix=dict(img_path='test/images/'),
    )
)
test_evaluator = dict(
    format_only=True, merge_patches=True, outfile_prefix='work_dirs/Task1'
)
auto_scale_lr = dict(base_batch_size=2)
default_hooks = dict(checkpoint=dict(type='dynnet.AtomicCheckpointHook'))
