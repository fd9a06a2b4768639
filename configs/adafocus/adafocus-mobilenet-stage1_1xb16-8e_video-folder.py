# Stage 1 on a folder of your own videos: the local encoder and the classifier, on
# random patches. Both encoders start from ImageNet, the global one stays as it is;
# there is no stage 0. PREPARE.md says how mobilenetv2.pth is made.
_base_ = [
    '../_base_/models/adafocus_mobilenet.py',
    '../_base_/datasets/video_folder.py',
    '../_base_/video_runtime.py',
]

model = dict(train_cfg=dict(stage='random'))
load_from = 'work_dirs/mobilenetv2.pth'

max_epochs = 8
optim_wrapper = dict(
    optimizer=dict(type='SGD', lr=0.02, momentum=0.9, weight_decay=1e-4),
    paramwise_cfg=dict(custom_keys={'backbone': dict(lr_mult=0.1)}),
)
param_scheduler = [
    dict(
        type='CosineAnnealingLR',
        T_max=max_epochs,
        end=max_epochs,
        by_epoch=True,
        convert_to_iter_based=True,
    )
]
train_cfg = dict(by_epoch=True, max_epochs=max_epochs, val_interval=max_epochs)
val_cfg = dict()
test_cfg = dict()
auto_scale_lr = dict(base_batch_size=16)
