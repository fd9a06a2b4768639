# cosine.py for L2W-DEN: a loader batch makes two SGD steps of half of it, so it is
# twice the plain one. Both optimizers follow the cosine.
_base_ = './cosine.py'

optim_wrapper = dict(
    _delete_=True,
    constructor='dynnet.SplitOptimWrapperConstructor',
    model=dict(optimizer={{_base_.optim_wrapper.optimizer}}),
    wpn=dict(optimizer=dict(type='Adam', lr=1e-4, weight_decay=1e-4)),
)
model_wrapper_cfg = dict(type='dynnet.OwnStepDataParallel')
auto_scale_lr = dict(base_batch_size=128)
