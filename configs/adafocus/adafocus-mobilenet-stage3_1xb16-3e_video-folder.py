# Stage 3 on a folder of your own videos: the classifier, on the policy's patches.
_base_ = ['adafocus-mobilenet-stage1_1xb16-8e_video-folder.py']

model = dict(train_cfg=dict(stage='finetune'))
load_from = 'work_dirs/adafocus-mobilenet-stage2_1xb16-8e_video-folder/epoch_8.pth'

max_epochs = 3
optim_wrapper = dict(optimizer=dict(lr=0.005))
param_scheduler = [
    dict(
        type='CosineAnnealingLR',
        T_max=max_epochs,
        end=max_epochs,
        by_epoch=True,
        convert_to_iter_based=True,
    )
]
train_cfg = dict(max_epochs=max_epochs, val_interval=max_epochs)
