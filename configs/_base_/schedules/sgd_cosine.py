# For small nets: SGD, a linear warm-up over 200 iterations, then a cosine to zero, both
# by iteration. A config says how long: train_cfg = dict(max_epochs=...).
optim_wrapper = dict(
    optimizer=dict(type='SGD', lr=0.1, momentum=0.9, weight_decay=1e-4)
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=200),
    # Without an end of its own it ends with the training.
    dict(
        type='CosineAnnealingLR', eta_min=0, by_epoch=True, convert_to_iter_based=True
    ),
]
train_cfg = dict(by_epoch=True, val_interval=1)
# The learning rate is for this batch size: see --auto-scale-lr.
auto_scale_lr = dict(base_batch_size=64)
