# Mini-Kinetics (200 classes of Kinetics-400): CLASS/VIDEO.mp4 below videos/, and lists
# mini_{train,val}_videofolder.txt (`CLASS/VIDEO frames label`; paths may have spaces).
_base_ = ['activitynet.py']

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
