# ActivityNet as activitynet.py, from dumped frames: frames/VIDEO/image_00001.jpg, ...,
# 360 pixels high in the published experiments.
_base_ = ['activitynet.py']

frame_list = dict(
    _delete_=True,
    type='dynnet.FrameListDataset',
    data_root={{_base_.data_root}},
    data_prefix=dict(img='frames'),
    filename_tmpl='image_{:05d}.jpg',
    delimiter=',',
    max_labels=3,
    min_frames=3,
    num_classes={{_base_.num_classes}},
)
train_dataloader = dict(
    dataset=dict(
        ann_file='actnet_train_split.txt',
        pipeline={{_base_.train_pipeline}},
        **frame_list,
    )
)
val_dataloader = dict(
    dataset=dict(
        ann_file='actnet_val_split.txt',
        pipeline={{_base_.test_pipeline}},
        test_mode=True,
        **frame_list,
    )
)
test_dataloader = val_dataloader
