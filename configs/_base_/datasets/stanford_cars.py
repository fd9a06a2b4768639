# Stanford Cars, in its official layout, 224x224.
_base_ = './cub.py'

data_root = '{{$STANFORD_CARS_ROOT:data/Stanford_Cars}}'
num_classes = 196
data_preprocessor = dict(num_classes=num_classes)

train_dataloader = dict(
    dataset=dict(type='StanfordCars', data_root=data_root, split='train')
)
val_dataloader = dict(dataset=dict(type='StanfordCars', data_root=data_root))
test_dataloader = val_dataloader
