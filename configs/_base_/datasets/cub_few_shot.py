# Few-shot with CUB-200-2011: base and novel classes are read from class-list files, one
# class name on each line (001.Black_footed_Albatross, or without the number). Base
# classes are trained on with the official training pictures and watched with the test
# pictures; episodes draw from both.
_base_ = './cub.py'

base_list = '{{$CUB_BASE_LIST:data/CUB_200_2011/base.txt}}'
novel_list = '{{$CUB_NOVEL_LIST:data/CUB_200_2011/novel.txt}}'
num_classes = 100  # the number of lines of the base list
data_preprocessor = dict(num_classes=num_classes)

train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='dynnet.ClassSubset',
        classes=base_list,
        dataset={{_base_.train_dataloader.dataset}},
    )
)
val_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='dynnet.ClassSubset',
        classes=base_list,
        dataset={{_base_.val_dataloader.dataset}},
    )
)
novel_train = dict(
    type='dynnet.ClassSubset',
    classes=novel_list,
    dataset=dict(
        type='CUB',
        data_root={{_base_.data_root}},
        split='train',
        pipeline={{_base_.test_pipeline}},
    ),
)
novel_test = dict(
    type='dynnet.ClassSubset',
    classes=novel_list,
    dataset=dict(
        type='CUB',
        data_root={{_base_.data_root}},
        split='test',
        pipeline={{_base_.test_pipeline}},
    ),
)
test_dataloader = dict(
    dataset=dict(
        _delete_=True, type='ConcatDataset', datasets=[novel_train, novel_test]
    )
)
