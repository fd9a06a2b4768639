# CIFAR-10's form in one npz file: x_train, y_train, x_test, y_test, with pictures
# (N, 32, 32, 3), RGB, uint8. The environment variable CIFAR10_NPZ says where it lies.
ann_file = '{{$CIFAR10_NPZ:data/cifar10_small.npz}}'
num_classes = 10
classes = [
    'airplane', 'automobile', 'bird', 'cat', 'deer', 'dog', 'frog', 'horse', 'ship',
    'truck',
]  # fmt: skip

# CIFAR-10's published mean and standard deviation times 255.
data_preprocessor = dict(
    num_classes=10,
    mean=[0.4914 * 255, 0.4824 * 255, 0.4467 * 255],
    std=[0.2471 * 255, 0.2435 * 255, 0.2616 * 255],
    to_rgb=False,  # it is RGB
)

train_pipeline = [
    dict(type='RandomCrop', crop_size=32, padding=4),
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
    dict(type='PackInputs'),
]
test_pipeline = [dict(type='PackInputs')]

# A tenth of a set of 5 000 is held out; thresholds are solved on it.
train_dataloader = dict(
    batch_size=64,
    num_workers=1,
    drop_last=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type='dynnet.HoldoutSubset',
        size=500,
        part='train',
        dataset=dict(
            type='dynnet.NPZDataset',
            ann_file=ann_file,
            split='train',
            metainfo=dict(classes=classes),
            pipeline=train_pipeline,
        ),
    ),
)
val_dataloader = dict(
    batch_size=250,
    num_workers=1,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='dynnet.HoldoutSubset',
        size=500,
        part='holdout',
        dataset=dict(
            type='dynnet.NPZDataset',
            ann_file=ann_file,
            split='train',
            metainfo=dict(classes=classes),
            pipeline=test_pipeline,
        ),
    ),
)
calib_dataloader = val_dataloader
test_dataloader = dict(
    batch_size=250,
    num_workers=1,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='dynnet.NPZDataset',
        ann_file=ann_file,
        split='test',
        metainfo=dict(classes=classes),
        pipeline=test_pipeline,
    ),
)
