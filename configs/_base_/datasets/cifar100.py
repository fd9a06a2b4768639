# CIFAR-100, the whole training set; mmpretrain's class downloads it into data_root.
data_root = '{{$CIFAR100_ROOT:data/cifar100}}'

data_preprocessor = dict(
    num_classes=100,
    mean=[0.5071 * 255, 0.4867 * 255, 0.4408 * 255],
    std=[0.2675 * 255, 0.2565 * 255, 0.2761 * 255],
    to_rgb=False,  # the pictures are RGB as they come
)

train_pipeline = [
    # Pads with black before the normalisation, as the published code does.
    dict(type='RandomCrop', crop_size=32, padding=4),
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
    dict(type='PackInputs'),
]
test_pipeline = [dict(type='PackInputs')]

train_dataloader = dict(
    batch_size=64,
    num_workers=2,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type='CIFAR100', data_root=data_root, split='train', pipeline=train_pipeline
    ),
)
# There is no third set: the test set is watched during training. Nothing is chosen
# by it; results are those of the last epoch.
val_dataloader = dict(
    batch_size=256,
    num_workers=2,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='CIFAR100', data_root=data_root, split='test', pipeline=test_pipeline
    ),
)
test_dataloader = val_dataloader
