# The plain twin of msdnet-nb5-lin_l2w_1xb1024-300e_cifar100-holdout5k.py:
# equal epochs, SGD steps, schedule and batch per step.
# For budgets: 5 000 training pictures are held out and thresholds are solved on them.
_base_ = [
    '../_base_/models/msdnet_cifar.py',
    '../_base_/datasets/cifar100_holdout.py',
    '../_base_/schedules/cosine.py',
    '../_base_/evaluation/early_exit.py',
    '../_base_/default_runtime.py',
]

model = dict(head=dict(num_classes=100))
train_dataloader = dict(batch_size=512)
optim_wrapper = dict(optimizer=dict(lr=0.8))
train_cfg = dict(max_epochs=300, val_interval=10)
auto_scale_lr = dict(base_batch_size=512)
test_cfg = dict(calib_dataloader={{_base_.calib_dataloader}})
