# Something-Something V1, which is distributed as frames: frames/ID/00001.jpg, ...; else
# as sthv2.py.
_base_ = ['sthv2.py']

data_root = '{{$STHV1_ROOT:data/sthv1}}'

train_dataloader = dict(dataset=dict(data_root=data_root, filename_tmpl='{:05d}.jpg'))
val_dataloader = dict(dataset=dict(data_root=data_root, filename_tmpl='{:05d}.jpg'))
test_dataloader = val_dataloader
