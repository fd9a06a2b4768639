# LASNet's fine-tuning: 100 epochs of batch 512 from a trained dense network, a cosine
# per iteration without warm-up, weight decay on everything, no EMA, no AMP.
optim_wrapper = dict(
    optimizer=dict(type='SGD', lr=0.04, momentum=0.9, nesterov=True, weight_decay=5e-5)
)
param_scheduler = dict(
    type='CosineAnnealingLR',
    T_max=100,
    end=100,
    eta_min=0,
    by_epoch=True,
    convert_to_iter_based=True,
)
# Every 10 epochs, and every epoch after the 90th.
train_cfg = dict(
    by_epoch=True, max_epochs=100, val_interval=10, dynamic_intervals=[(91, 1)]
)
# The learning rate is for this batch size: see --auto-scale-lr.
auto_scale_lr = dict(base_batch_size=512)
