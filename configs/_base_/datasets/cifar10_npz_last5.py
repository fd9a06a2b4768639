# The last five classes of the small CIFAR-10 in an npz file, for transfer between
# halves.
_base_ = './cifar10_npz.py'

num_classes = 5
chosen = [5, 6, 7, 8, 9]
data_preprocessor = dict(num_classes=num_classes)

train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='dynnet.ClassSubset',
        classes=chosen,
        dataset={{_base_.train_dataloader.dataset}},
    )
)
val_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='dynnet.ClassSubset',
        classes=chosen,
        dataset={{_base_.val_dataloader.dataset}},
    )
)
calib_dataloader = val_dataloader
test_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='dynnet.ClassSubset',
        classes=chosen,
        dataset={{_base_.test_dataloader.dataset}},
    )
)
