# The baseline on few pictures, more epochs: 1 000 of the training set.
_base_ = './resnet20_1xb64-12e_cifar10-npz.py'

max_epochs = 30
train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='dynnet.Subset',
        num=1000,
        dataset={{_base_.train_dataloader.dataset}},
    )
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=50),
    dict(
        type='CosineAnnealingLR',
        T_max=max_epochs,
        end=max_epochs,
        eta_min=0,
        by_epoch=True,
        convert_to_iter_based=True,
    ),
]
train_cfg = dict(max_epochs=max_epochs, val_interval=10)
