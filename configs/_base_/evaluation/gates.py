# Accuracy, and what the gates kept.
val_evaluator = [
    dict(type='Accuracy', topk=(1, 5)),
    dict(type='dynnet.GateCostMetric'),
]
val_cfg = dict()
test_evaluator = val_evaluator
test_cfg = dict()

log_processor = dict(mean_pattern=r'(loss|(^|_)time$|grad_norm|density|macs_ratio)')
