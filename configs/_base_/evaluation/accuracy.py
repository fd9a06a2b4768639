# Top-1 accuracy.
val_evaluator = dict(type='Accuracy', topk=(1,))
val_cfg = dict()
test_evaluator = val_evaluator
test_cfg = dict()

# Running means of these: the loss on the maps and what is behind it, too.
log_processor = dict(mean_pattern=r'(loss|(^|_)time$|grad_norm|cam_dist|constant_maps)')
