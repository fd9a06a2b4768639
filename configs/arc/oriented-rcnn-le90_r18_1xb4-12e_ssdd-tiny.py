# Oriented R-CNN on the pictures of ships that its Rotated RetinaNet sibling learns.
_base_ = './rotated-retinanet-le90_r18_1xb4-12e_ssdd-tiny.py'

# mmrotate's Oriented R-CNN with a narrow neck and narrow heads, few proposals, and
# anchors of half the size: ships are small.
le90 = dict(angle_version='le90')
nms = dict(nms_pre=400, max_per_img=200, min_bbox_size=0)
rpn = dict(nms=dict(type='nms', iou_threshold=0.8), **nms)
assigner = dict(type='mmdet.MaxIoUAssigner', ignore_iof_thr=-1)
sampler = dict(type='mmdet.RandomSampler', num=128, neg_pos_ub=-1)
model = dict(
    _delete_=True,
    type='mmdet.FasterRCNN',
    data_preprocessor=dict(
        type='mmdet.DetDataPreprocessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_size_divisor=32,
        boxtype2tensor=False,
    ),
    backbone=dict(type='mmpretrain.ResNet', depth=18, out_indices=(0, 1, 2, 3)),
    neck=dict(
        type='mmdet.FPN', in_channels=[64, 128, 256, 512], out_channels=64, num_outs=4
    ),
    rpn_head=dict(
        type='OrientedRPNHead',
        in_channels=64,
        feat_channels=64,
        anchor_generator=dict(
            type='mmdet.AnchorGenerator',
            scales=[4],
            ratios=[0.5, 1.0, 2.0],
            strides=[4, 8, 16, 32],
            use_box_type=True,
        ),
        bbox_coder=dict(
            type='MidpointOffsetCoder',
            target_means=[0.0] * 6,
            target_stds=[1.0, 1.0, 1.0, 1.0, 0.5, 0.5],
            **le90,
        ),
        loss_cls=dict(type='mmdet.CrossEntropyLoss', use_sigmoid=True),
        loss_bbox=dict(type='mmdet.SmoothL1Loss', beta=1 / 9),
    ),
    roi_head=dict(
        type='mmdet.StandardRoIHead',
        bbox_roi_extractor=dict(
            type='RotatedSingleRoIExtractor',
            roi_layer=dict(
                type='RoIAlignRotated', out_size=7, sample_num=2, clockwise=True
            ),
            out_channels=64,
            featmap_strides=[4, 8, 16, 32],
        ),
        bbox_head=dict(
            type='mmdet.Shared2FCBBoxHead',
            predict_box_type='rbox',
            in_channels=64,
            fc_out_channels=256,
            roi_feat_size=7,
            num_classes=1,
            reg_predictor_cfg=dict(type='mmdet.Linear'),
            cls_predictor_cfg=dict(type='mmdet.Linear'),
            bbox_coder=dict(
                type='DeltaXYWHTRBBoxCoder',
                norm_factor=None,
                edge_swap=True,
                proj_xy=True,
                target_means=[0.0] * 5,
                target_stds=[0.1, 0.1, 0.2, 0.2, 0.1],
                **le90,
            ),
            reg_class_agnostic=True,
            loss_cls=dict(type='mmdet.CrossEntropyLoss', use_sigmoid=False),
            loss_bbox=dict(type='mmdet.SmoothL1Loss', beta=1.0),
        ),
    ),
    train_cfg=dict(
        rpn=dict(
            assigner=dict(
                pos_iou_thr=0.7,
                neg_iou_thr=0.3,
                min_pos_iou=0.3,
                match_low_quality=True,
                iou_calculator=dict(type='RBbox2HBboxOverlaps2D'),
                **assigner,
            ),
            sampler=dict(pos_fraction=0.5, add_gt_as_proposals=False, **sampler),
            allowed_border=0,
            pos_weight=-1,
            debug=False,
        ),
        rpn_proposal=rpn,
        rcnn=dict(
            assigner=dict(
                pos_iou_thr=0.5,
                neg_iou_thr=0.5,
                min_pos_iou=0.5,
                match_low_quality=False,
                iou_calculator=dict(type='RBboxOverlaps2D'),
                **assigner,
            ),
            sampler=dict(pos_fraction=0.25, add_gt_as_proposals=True, **sampler),
            pos_weight=-1,
            debug=False,
        ),
    ),
    test_cfg=dict(
        rpn=rpn,
        rcnn=dict(
            nms_pre=2000,
            min_bbox_size=0,
            score_thr=0.05,
            nms=dict(type='nms_rotated', iou_threshold=0.1),
            max_per_img=2000,
        ),
    ),
)
