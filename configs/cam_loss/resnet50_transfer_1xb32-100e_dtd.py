# Fine-tune a ResNet-50 on Describable Textures, first official split. CAM_CHECKPOINT
# (environment) names the checkpoint to start from, trained on ImageNet with or without
# CAM-loss; its classifier is not used.
_base_ = [
    '../_base_/models/resnet_imagenet.py',
    '../_base_/datasets/dtd.py',
    '../_base_/schedules/finetune_sgd_100e.py',
    '../_base_/evaluation/accuracy.py',
    '../_base_/default_runtime.py',
]

model = dict(
    backbone=dict(
        init_cfg=dict(
            type='Pretrained',
            checkpoint='{{$CAM_CHECKPOINT:checkpoints/resnet50_cam_in1k.pth}}',
            prefix='backbone.',
        )
    ),
    head=dict(num_classes=47),
)
