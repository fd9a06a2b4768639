# Something-Something V2 as sthv2.py, decoded straight from ID.webm below videos/.
_base_ = ['sthv2.py']

video_list = dict(
    _delete_=True,
    type='dynnet.VideoListDataset',
    data_root={{_base_.data_root}},
    data_prefix=dict(video='videos'),
    suffix='.webm',
    columns='path frames label',
    num_classes={{_base_.num_classes}},
)
train_dataloader = dict(
    dataset=dict(
        ann_file='train_videofolder.txt',
        pipeline={{_base_.train_pipeline}},
        **video_list,
    )
)
val_dataloader = dict(
    dataset=dict(
        ann_file='val_videofolder.txt',
        pipeline={{_base_.test_pipeline}},
        test_mode=True,
        **video_list,
    )
)
test_dataloader = val_dataloader
