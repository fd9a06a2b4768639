# L2W-DEN as published for CIFAR-100: 300 epochs of batch 1024, two SGD steps of 512
# each, both learning rates a cosine to zero.
# For budgets: 5 000 training pictures are held out and thresholds are solved on them.
_base_ = [
    '../_base_/models/msdnet_cifar_l2w.py',
    '../_base_/datasets/cifar100_holdout.py',
    '../_base_/schedules/l2w_cosine.py',
    '../_base_/evaluation/early_exit.py',
    '../_base_/l2w_runtime.py',
]

model = dict(head=dict(num_classes=100))
train_dataloader = dict(batch_size=1024)
optim_wrapper = dict(model=dict(optimizer=dict(lr=0.8)))
train_cfg = dict(max_epochs=300, val_interval=10)
auto_scale_lr = dict(base_batch_size=1024)
test_cfg = dict(calib_dataloader={{_base_.calib_dataloader}})
