# The plain twin of msdnet-step7_l2w_8xb512-100e_in1k-holdout50k.py:
# equal epochs, SGD steps, schedule and batch per step.
# For budgets: 50 000 training pictures are held out, thresholds are solved on them.
_base_ = [
    '../_base_/models/msdnet_imagenet.py',
    '../_base_/datasets/imagenet_holdout.py',
    '../_base_/schedules/cosine.py',
    '../_base_/evaluation/early_exit_top5.py',
    '../_base_/default_runtime.py',
]

model = dict(backbone=dict(base=7, step=7))
train_dataloader = dict(batch_size=256)
optim_wrapper = dict(optimizer=dict(lr=0.8))
train_cfg = dict(max_epochs=100)
auto_scale_lr = dict(base_batch_size=2048)
test_cfg = dict(calib_dataloader={{_base_.calib_dataloader}})
