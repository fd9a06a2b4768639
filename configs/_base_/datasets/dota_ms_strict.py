# DOTA cut at three scales, with random rotation: what it changes in a config of one
# scale, by name.
ms_root = 'data/split_ms_dota/'
dota_ms_train = dict(
    dataset=dict(
        data_root=ms_root,
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
dota_ms_test = dict(dataset=dict(data_root=ms_root))
