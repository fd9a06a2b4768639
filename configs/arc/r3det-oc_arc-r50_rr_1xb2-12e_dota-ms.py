# R3Det with ARC-ResNet-50 on DOTA-v1.0, three scales, random rotation.
_base_ = './r3det-oc_arc-r50_1xb2-12e_dota.py'

data_root = 'data/split_ms_dota/'
train_dataloader = dict(
    dataset=dict(
        data_root=data_root,
        pipeline=[
            dict(type='mmdet.LoadImageFromFile'),
            dict(type='mmdet.LoadAnnotations', with_bbox=True, box_type='qbox'),
            dict(type='ConvertBoxType', box_type_mapping=dict(gt_bboxes='rbox')),
            dict(type='mmdet.Resize', scale=(1024, 1024), keep_ratio=True),
            dict(
                type='mmdet.RandomFlip',
                prob=0.75,
                direction=['horizontal', 'vertical', 'diagonal'],
            ),
            dict(
                type='RandomRotate',
                prob=0.5,
                angle_range=180,
                # Roundabouts and storage tanks turn by right angles only.
                rect_obj_labels=[9, 11],
            ),
            dict(type='mmdet.PackDetInputs'),
        ],
    )
)
val_dataloader = dict(dataset=dict(data_root=data_root))
test_dataloader = dict(dataset=dict(data_root=data_root))
