# Stage 1: the local encoder and the classifier, on random patches.
# The published loop runs one epoch more, at a learning rate of zero.
_base_ = ['../models/adafocus_r50.py', '../video_runtime.py']

model = dict(train_cfg=dict(stage='random'))

optim_wrapper = dict(
    optimizer=dict(type='SGD', lr=0.05, momentum=0.9, weight_decay=0.0001),
    # The local encoder's is 5e-4.
    paramwise_cfg=dict(custom_keys={'backbone': dict(lr_mult=0.01)}),
)
param_scheduler = [dict(type='CosineAnnealingLR', T_max=50, end=50)]
train_cfg = dict(by_epoch=True, max_epochs=50, val_interval=5)
val_cfg = dict()
test_cfg = dict()
auto_scale_lr = dict(base_batch_size=64)
