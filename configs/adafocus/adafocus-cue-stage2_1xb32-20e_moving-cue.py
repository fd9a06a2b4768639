# Stage 2: the policy, by reinforcement.
_base_ = ['adafocus-cue-stage0_1xb32-3e_moving-cue.py']

model = dict(train_cfg=dict(stage='policy'))
load_from = 'work_dirs/adafocus-cue-stage1_1xb32-10e_moving-cue/epoch_10.pth'

optim_wrapper = dict(optimizer=dict(_delete_=True, type='Adam', lr=1e-3))
param_scheduler = []
train_cfg = dict(max_epochs=20, val_interval=5)
