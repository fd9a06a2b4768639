# Conditional exit: stage 3's network under budgets, thresholds solved on the validation
# clips.
_base_ = ['adafocus-cue-stage3_1xb32-4e_moving-cue.py']

test_cfg = dict(
    type='dynnet.EarlyExitTestLoop',
    calib_dataloader={{_base_.val_dataloader}},
    budgets=[0.3, 0.5, 0.7],
    relative_budgets=True,
)
test_evaluator = [
    dict(type='dynnet.AnytimeAccuracy'),
    dict(type='dynnet.BudgetedBatchMetric'),
    dict(type='dynnet.CostMetric'),
]
