# The plain twin of msdnet-nb5-lin_l2w_1xb1024-300e_cifar100.py:
# equal epochs, SGD steps, schedule and batch per step.
# For anytime prediction: the whole training set, no thresholds.
_base_ = [
    '../_base_/models/msdnet_cifar.py',
    '../_base_/datasets/cifar100.py',
    '../_base_/schedules/cosine.py',
    '../_base_/evaluation/early_exit.py',
    '../_base_/default_runtime.py',
]

model = dict(head=dict(num_classes=100))
train_dataloader = dict(batch_size=512)
optim_wrapper = dict(optimizer=dict(lr=0.8))
train_cfg = dict(max_epochs=300, val_interval=10)
auto_scale_lr = dict(base_batch_size=512)
