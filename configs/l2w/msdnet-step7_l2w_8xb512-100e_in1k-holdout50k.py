# L2W-DEN as published for ImageNet: 100 epochs of batch 4096 (8 x 512), two SGD steps
# of 2048 each, both learning rates a cosine to zero.
# For budgets: 50 000 training pictures are held out, thresholds are solved on them.
_base_ = [
    '../_base_/models/msdnet_imagenet_l2w.py',
    '../_base_/datasets/imagenet_holdout.py',
    '../_base_/schedules/l2w_cosine.py',
    '../_base_/evaluation/early_exit_top5.py',
    '../_base_/l2w_runtime.py',
]

model = dict(backbone=dict(base=7, step=7))
train_dataloader = dict(batch_size=512)
optim_wrapper = dict(model=dict(optimizer=dict(lr=0.8)))
train_cfg = dict(max_epochs=100)
auto_scale_lr = dict(base_batch_size=4096)
test_cfg = dict(calib_dataloader={{_base_.calib_dataloader}})
