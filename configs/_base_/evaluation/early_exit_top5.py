# early_exit.py with the top 5 beside the top 1.
_base_ = './early_exit.py'

val_evaluator = dict(topk=(1, 5))
test_evaluator = [
    dict(type='dynnet.AnytimeAccuracy', topk=(1, 5)),
    dict(type='dynnet.BudgetedBatchMetric'),
    dict(type='dynnet.CostMetric'),
]
