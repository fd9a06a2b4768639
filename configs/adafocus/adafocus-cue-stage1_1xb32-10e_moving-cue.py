# Stage 1: the local encoder and the classifier, on random patches.
_base_ = ['adafocus-cue-stage0_1xb32-3e_moving-cue.py']

model = dict(train_cfg=dict(stage='random'))
load_from = 'work_dirs/adafocus-cue-stage0_1xb32-3e_moving-cue/epoch_3.pth'

max_epochs = 10
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
