# ImageNet-1k with 50 000 training pictures held out: exit thresholds are solved on
# them, through the test transform.
_base_ = './imagenet.py'

train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='dynnet.HoldoutSubset',
        size=50000,
        part='train',
        dataset={{_base_.train_dataloader.dataset}},
    )
)
calib_dataloader = dict(
    batch_size=64,
    num_workers=5,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='dynnet.HoldoutSubset',
        size=50000,
        part='holdout',
        dataset=dict(
            type='ImageNet',
            data_root={{_base_.data_root}},
            split='train',
            pipeline={{_base_.test_pipeline}},
        ),
    ),
)
val_dataloader = dict(_delete_=True, **calib_dataloader)
