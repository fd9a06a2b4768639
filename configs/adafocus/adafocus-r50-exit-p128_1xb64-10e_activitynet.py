# Conditional exit: stage 3's network, tested under budgets. A clip leaves after the
# frame whose largest logit reaches the threshold. Thresholds are solved on training
# clips, as published with AdaFocusV2; the exits' shares go as p^k, p = 0.5, ..., 3.9.
_base_ = ['adafocus-r50-stage3-p128_1xb64-10e_activitynet.py']

test_cfg = dict(
    type='dynnet.EarlyExitTestLoop',
    solver=dict(type='BudgetSolver', p=[2 * k for k in range(5, 40)]),
    calib_dataloader=dict(
        batch_size=64,
        num_workers=8,
        sampler=dict(type='DefaultSampler', shuffle=False),
        dataset=dict(
            type='dynnet.VideoListDataset',
            data_root={{_base_.data_root}},
            ann_file='actnet_train_split.txt',
            data_prefix=dict(video='videos'),
            suffix='.mp4',
            columns='path frames label',
            delimiter=',',
            max_labels=3,
            min_frames=3,
            num_classes={{_base_.num_classes}},
            pipeline={{_base_.test_pipeline}},
            test_mode=True,
        ),
    ),
)
test_evaluator = [
    dict(type='dynnet.AnytimeAccuracy'),
    dict(type='dynnet.BudgetedBatchMetric'),
    dict(type='dynnet.CostMetric'),
]
