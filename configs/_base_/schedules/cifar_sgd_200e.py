# The common recipe of CIFAR's ResNets: 200 epochs of batch 128, the learning rate x 0.1
# at 50 % and 75 %.
optim_wrapper = dict(
    optimizer=dict(type='SGD', lr=0.1, momentum=0.9, weight_decay=1e-4)
)
param_scheduler = dict(type='MultiStepLR', milestones=[100, 150], gamma=0.1)
train_cfg = dict(by_epoch=True, max_epochs=200, val_interval=10)
# The learning rate is for this batch size: see --auto-scale-lr.
auto_scale_lr = dict(base_batch_size=128)
