# Stage 2: the policy, by reinforcement; one PPO update per batch.
_base_ = ['../models/adafocus_tsm_r50.py', '../video_runtime.py']

model = dict(train_cfg=dict(stage='policy', reward='random', gamma=0.7))

optim_wrapper = dict(optimizer=dict(type='Adam', lr=3e-4))
train_cfg = dict(by_epoch=True, max_epochs=50, val_interval=5)
val_cfg = dict()
test_cfg = dict()
auto_scale_lr = dict(base_batch_size=64)
