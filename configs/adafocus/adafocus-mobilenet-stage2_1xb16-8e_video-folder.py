# Stage 2 on a folder of your own videos: the policy, by reinforcement.
_base_ = ['adafocus-mobilenet-stage1_1xb16-8e_video-folder.py']

model = dict(train_cfg=dict(stage='policy'))
load_from = 'work_dirs/adafocus-mobilenet-stage1_1xb16-8e_video-folder/epoch_8.pth'

optim_wrapper = dict(
    optimizer=dict(_delete_=True, type='Adam', lr=3e-4),
    paramwise_cfg=dict(_delete_=True),
)
param_scheduler = []
