# FCVID, in the layout of activitynet.py: FOLDER/VIDEO.mp4 below videos/, and the lists
# fcvid_{train,val}_split.txt. Every label of a video counts for the mAP.
_base_ = ['activitynet.py']

data_root = '{{$FCVID_ROOT:data/fcvid}}'
num_classes = 239

train_dataloader = dict(
    dataset=dict(
        data_root=data_root, ann_file='fcvid_train_split.txt', num_classes=num_classes
    )
)
val_dataloader = dict(
    dataset=dict(
        data_root=data_root, ann_file='fcvid_val_split.txt', num_classes=num_classes
    )
)
test_dataloader = val_dataloader

val_evaluator = dict(type='dynnet.VideoMetric', topk=(1, 5), mean_ap='all')
test_evaluator = val_evaluator
