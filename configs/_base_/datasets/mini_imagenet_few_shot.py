# Few-shot with mini-ImageNet: 100 classes of ImageNet in the layout of its train folder
# (one folder per class), split by class-list files, one folder name (n01532829) on each
# line: base classes to train on, novel ones to draw episodes from.
data_root = '{{$MINI_IMAGENET_ROOT:data/mini_imagenet}}'
base_list = '{{$MINI_IMAGENET_BASE_LIST:data/mini_imagenet/base.txt}}'
novel_list = '{{$MINI_IMAGENET_NOVEL_LIST:data/mini_imagenet/novel.txt}}'
num_classes = 64  # the number of lines of the base list

data_preprocessor = dict(
    num_classes=num_classes,
    mean=[123.675, 116.28, 103.53],
    std=[58.395, 57.12, 57.375],
    to_rgb=True,  # pictures are loaded as BGR
)

train_pipeline = [
    dict(type='dynnet.LoadImageStrict'),
    dict(type='RandomResizedCrop', scale=224),
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
    dict(type='PackInputs'),
]
test_pipeline = [
    dict(type='dynnet.LoadImageStrict'),
    dict(type='ResizeEdge', scale=256, edge='short'),
    dict(type='CenterCrop', crop_size=224),
    dict(type='PackInputs'),
]

train_dataloader = dict(
    batch_size=32,
    num_workers=4,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type='dynnet.ClassSubset',
        classes=base_list,
        dataset=dict(
            type='dynnet.ImageFolder',
            data_root=data_root,
            data_prefix='images',
            pipeline=train_pipeline,
        ),
    ),
)
test_dataloader = dict(
    batch_size=64,
    num_workers=4,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='dynnet.ClassSubset',
        classes=novel_list,
        dataset=dict(
            type='dynnet.ImageFolder',
            data_root=data_root,
            data_prefix='images',
            pipeline=test_pipeline,
        ),
    ),
)
