# Few-shot with the small CIFAR-10 in an npz file: six base classes to train on, the
# test pictures of the four novel ones to draw episodes from.
_base_ = './cifar10_npz.py'

num_classes = 6
base_classes = [0, 1, 2, 3, 4, 5]
novel_classes = [6, 7, 8, 9]
data_preprocessor = dict(num_classes=num_classes)

train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='dynnet.ClassSubset',
        classes=base_classes,
        dataset={{_base_.train_dataloader.dataset}},
    )
)
val_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='dynnet.ClassSubset',
        classes=base_classes,
        dataset={{_base_.val_dataloader.dataset}},
    )
)
calib_dataloader = val_dataloader
test_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='dynnet.ClassSubset',
        classes=novel_classes,
        dataset={{_base_.test_dataloader.dataset}},
    )
)
