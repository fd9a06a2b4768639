# Stage 3: the classifier, on the patches that the policy picks. 'finetune_local' trains
# the local encoder as well.
# The published loop runs one epoch more, at a learning rate of zero.
_base_ = ['../models/adafocus_r50.py', '../video_runtime.py']

model = dict(train_cfg=dict(stage='finetune'))

optim_wrapper = dict(
    optimizer=dict(type='SGD', lr=0.005, momentum=0.9, weight_decay=0.0001)
)
param_scheduler = [dict(type='CosineAnnealingLR', T_max=10, end=10)]
train_cfg = dict(by_epoch=True, max_epochs=10, val_interval=5)
val_cfg = dict()
test_cfg = dict()
auto_scale_lr = dict(base_batch_size=64)
