# A small RANet on a folder of your own pictures; README.md has the walk-through.
_base_ = [
    '../_base_/models/ranet_small.py',
    '../_base_/datasets/custom_folder.py',
    '../_base_/schedules/sgd_cosine.py',
    '../_base_/evaluation/early_exit.py',
    '../_base_/default_runtime.py',
]

train_cfg = dict(max_epochs=60)
model = dict(
    # Pictures of 128x128 come out of this stem at 32x32.
    backbone=dict(stem='imagenet'),
    head=dict(num_classes=2),  # set it to the number of your class folders
)
test_cfg = dict(calib_dataloader={{_base_.calib_dataloader}})
