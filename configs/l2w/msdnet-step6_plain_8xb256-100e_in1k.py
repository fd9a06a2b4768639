# The plain twin of msdnet-step6_l2w_8xb512-100e_in1k.py:
# equal epochs, SGD steps, schedule and batch per step.
# For anytime prediction: the whole training set, no thresholds.
_base_ = [
    '../_base_/models/msdnet_imagenet.py',
    '../_base_/datasets/imagenet.py',
    '../_base_/schedules/cosine.py',
    '../_base_/evaluation/early_exit_top5.py',
    '../_base_/default_runtime.py',
]

model = dict(backbone=dict(base=6, step=6))
train_dataloader = dict(batch_size=256)
optim_wrapper = dict(optimizer=dict(lr=0.8))
train_cfg = dict(max_epochs=100)
auto_scale_lr = dict(base_batch_size=2048)
