# Stage 3: the classifier, on the patches that the policy picks.
_base_ = ['adafocus-cue-stage0_1xb32-3e_moving-cue.py']

model = dict(train_cfg=dict(stage='finetune'))
load_from = 'work_dirs/adafocus-cue-stage2_1xb32-20e_moving-cue/epoch_20.pth'

max_epochs = 4
optim_wrapper = dict(optimizer=dict(lr=0.01))
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
