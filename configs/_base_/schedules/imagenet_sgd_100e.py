# mmpretrain's recipe for ResNets on ImageNet: 100 epochs of batch 256, the learning
# rate x 0.1 every 30.
optim_wrapper = dict(
    optimizer=dict(type='SGD', lr=0.1, momentum=0.9, weight_decay=1e-4)
)
param_scheduler = dict(type='MultiStepLR', milestones=[30, 60, 90], gamma=0.1)
train_cfg = dict(by_epoch=True, max_epochs=100, val_interval=5)
# The learning rate is for this batch size: see --auto-scale-lr.
auto_scale_lr = dict(base_batch_size=256)
