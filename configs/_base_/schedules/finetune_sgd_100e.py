# Fine-tuning: a learning rate ten times smaller than from scratch, a cosine to zero.
max_epochs = 100

optim_wrapper = dict(
    optimizer=dict(type='SGD', lr=0.01, momentum=0.9, weight_decay=5e-4)
)
param_scheduler = dict(
    type='CosineAnnealingLR',
    T_max=max_epochs,
    end=max_epochs,
    eta_min=0,
    by_epoch=True,
    convert_to_iter_based=True,
)
train_cfg = dict(by_epoch=True, max_epochs=max_epochs, val_interval=10)
# The learning rate is for this batch size: see --auto-scale-lr.
auto_scale_lr = dict(base_batch_size=32)
