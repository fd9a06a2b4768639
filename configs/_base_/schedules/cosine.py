# For comparisons of few epochs: SGD, a cosine to zero by iteration, no warm-up. A
# config says how long: train_cfg = dict(max_epochs=...).
optim_wrapper = dict(
    optimizer=dict(type='SGD', lr=0.1, momentum=0.9, weight_decay=1e-4)
)
# Without an end of its own it ends with the training.
param_scheduler = dict(
    type='CosineAnnealingLR', eta_min=0, by_epoch=True, convert_to_iter_based=True
)
train_cfg = dict(by_epoch=True, val_interval=3)
# The learning rate is for this batch size: see --auto-scale-lr.
auto_scale_lr = dict(base_batch_size=64)
