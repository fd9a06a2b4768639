# Anytime accuracy at every exit; with a calibration split (test_cfg.calib_dataloader)
# the budgeted-batch curve; in execute mode what the samples really cost.
val_evaluator = dict(type='dynnet.AnytimeAccuracy')
val_cfg = dict()

test_evaluator = [
    dict(type='dynnet.AnytimeAccuracy'),
    dict(type='dynnet.BudgetedBatchMetric'),
    dict(type='dynnet.CostMetric'),
]
test_cfg = dict(type='dynnet.EarlyExitTestLoop')

# mmengine's log shows running means of everything whose name contains 'time', which
# would include 'anytime/...': only seconds, losses and gradient norms are meant.
log_processor = dict(mean_pattern=r'(loss|(^|_)time$|grad_norm)')
