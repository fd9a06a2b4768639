# Fashion-MNIST: 60 000 grey 28x28 pictures for training, 10 000 for testing.
# Make the four files with tools/dataset_converters/prepare_fashion_mnist.py.
data_root = '{{$FASHION_MNIST_ROOT:data/fashion_mnist}}'
num_classes = 10

# Mean and standard deviation of the 60 000 training pictures.
data_preprocessor = dict(num_classes=10, mean=[72.94], std=[90.02], to_rgb=False)

train_pipeline = [
    dict(type='RandomCrop', crop_size=32, padding=4),
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
    dict(type='PackInputs'),
]
# 28 + 2 * 2 = 32: there is one place to crop, so this pads and nothing is random.
test_pipeline = [
    dict(type='RandomCrop', crop_size=32, padding=2),
    dict(type='PackInputs'),
]

# 5 000 of the training pictures are held out: thresholds are solved on them (and they
# are what is watched during training). The test set is for testing alone.
train_dataloader = dict(
    batch_size=64,
    num_workers=1,
    drop_last=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type='dynnet.HoldoutSubset',
        size=5000,
        part='train',
        dataset=dict(
            type='FashionMNIST',
            data_root=data_root,
            split='train',
            pipeline=train_pipeline,
        ),
    ),
)
val_dataloader = dict(
    batch_size=256,
    num_workers=1,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='dynnet.HoldoutSubset',
        size=5000,
        part='holdout',
        dataset=dict(
            type='FashionMNIST',
            data_root=data_root,
            split='train',
            pipeline=test_pipeline,
        ),
    ),
)
calib_dataloader = val_dataloader
test_dataloader = dict(
    batch_size=256,
    num_workers=1,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='FashionMNIST',
        data_root=data_root,
        split='test',
        test_mode=True,  # this, not `split`, is what makes it read the test files
        pipeline=test_pipeline,
    ),
)
