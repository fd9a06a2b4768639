# Mini-Kinetics as mini_kinetics.py, from dumped frames, in the layout of
# activitynet_frames.py.
_base_ = ['activitynet_frames.py']

data_root = '{{$MINI_KINETICS_ROOT:data/mini_kinetics}}'

train_dataloader = dict(
    dataset=dict(
        data_root=data_root,
        ann_file='mini_train_videofolder.txt',
        delimiter=' ',
        max_labels=1,
    )
)
val_dataloader = dict(
    dataset=dict(
        data_root=data_root,
        ann_file='mini_val_videofolder.txt',
        delimiter=' ',
        max_labels=1,
    )
)
test_dataloader = val_dataloader

val_evaluator = dict(type='dynnet.VideoMetric', topk=(1, 5), mean_ap=None)
test_evaluator = val_evaluator
