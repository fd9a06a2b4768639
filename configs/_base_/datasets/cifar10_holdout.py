# CIFAR-10 with 5 000 training pictures held out: exit thresholds are solved on them,
# through the test transform. (The published hold-out goes through the training
# transform: see *_aug-calib_*.py for that.)
_base_ = './cifar10.py'

train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='dynnet.HoldoutSubset',
        size=5000,
        part='train',
        dataset={{_base_.train_dataloader.dataset}},
    )
)
calib_dataloader = dict(
    batch_size=256,
    num_workers=2,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='dynnet.HoldoutSubset',
        size=5000,
        part='holdout',
        dataset=dict(
            type='CIFAR10',
            data_root={{_base_.data_root}},
            split='train',
            pipeline={{_base_.test_pipeline}},
        ),
    ),
)
val_dataloader = dict(_delete_=True, **calib_dataloader)
