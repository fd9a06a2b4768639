# Fine-tuning on the other five classes. CAM_CHECKPOINT (environment) names the
# checkpoint of the first five; its classifier is not used.
_base_ = [
    '../_base_/models/resnet20_cifar.py',
    '../_base_/datasets/cifar10_npz_last5.py',
    '../_base_/schedules/sgd_cosine_12e.py',
    '../_base_/evaluation/accuracy.py',
    '../_base_/default_runtime.py',
]

model = dict(
    backbone=dict(
        init_cfg=dict(
            type='Pretrained',
            checkpoint='{{$CAM_CHECKPOINT:checkpoints/resnet20_first5.pth}}',
            prefix='backbone.',
        )
    ),
    head=dict(num_classes=5),
)
optim_wrapper = dict(optimizer=dict(lr=0.01))
