# FGVC-Aircraft, 100 variants, in its official layout, 224x224.
_base_ = './cub.py'

data_root = '{{$AIRCRAFT_ROOT:data/fgvc-aircraft-2013b}}'
num_classes = 100
data_preprocessor = dict(num_classes=num_classes)

train_dataloader = dict(
    dataset=dict(type='FGVCAircraft', data_root=data_root, split='trainval')
)
val_dataloader = dict(dataset=dict(type='FGVCAircraft', data_root=data_root))
test_dataloader = val_dataloader
