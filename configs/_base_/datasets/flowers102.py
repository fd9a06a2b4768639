# Oxford 102 Flowers, in its official layout, 224x224.
_base_ = './cub.py'

data_root = '{{$FLOWERS102_ROOT:data/Flowers102}}'
num_classes = 102
data_preprocessor = dict(num_classes=num_classes)

train_dataloader = dict(
    dataset=dict(type='Flowers102', data_root=data_root, split='trainval')
)
val_dataloader = dict(dataset=dict(type='Flowers102', data_root=data_root))
test_dataloader = val_dataloader
