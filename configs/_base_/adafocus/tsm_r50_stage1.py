# Stage 1: the local encoder and its classifier, on a random patch per clip. The
# learning rates are those that the published script names; by an accident of its
# parameter groups hardly anything moves there.
_base_ = ['../models/adafocus_tsm_r50.py', '../video_runtime.py']

model = dict(train_cfg=dict(stage='random'))

optim_wrapper = dict(
    optimizer=dict(type='SGD', lr=0.01, momentum=0.9, weight_decay=0.0001),
    # The local encoder's is 1e-5.
    paramwise_cfg=dict(custom_keys={'backbone': dict(lr_mult=0.001)}),
)
param_scheduler = [dict(type='CosineAnnealingLR', T_max=10, end=10)]
train_cfg = dict(by_epoch=True, max_epochs=10, val_interval=5)
val_cfg = dict()
test_cfg = dict()
auto_scale_lr = dict(base_batch_size=64)
