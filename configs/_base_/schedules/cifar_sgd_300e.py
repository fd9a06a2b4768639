# The papers' recipe for CIFAR: 300 epochs, the learning rate x 0.1 at 50 % and 75 %.
optim_wrapper = dict(
    # Weight decay on everything, BN included, and no Nesterov: as published.
    optimizer=dict(type='SGD', lr=0.1, momentum=0.9, weight_decay=1e-4)
)
param_scheduler = dict(type='MultiStepLR', milestones=[150, 225], gamma=0.1)
train_cfg = dict(by_epoch=True, max_epochs=300, val_interval=10)
# The learning rate is for this batch size: see --auto-scale-lr.
auto_scale_lr = dict(base_batch_size=64)
