# Describable Textures, first official split, in its official layout, 224x224.
_base_ = './cub.py'

data_root = '{{$DTD_ROOT:data/dtd}}'
num_classes = 47
data_preprocessor = dict(num_classes=num_classes)

train_dataloader = dict(dataset=dict(type='DTD', data_root=data_root, split='trainval'))
val_dataloader = dict(dataset=dict(type='DTD', data_root=data_root))
test_dataloader = val_dataloader
