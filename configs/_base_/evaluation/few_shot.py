# Base classes: top-1 accuracy, watched during training. Novel classes: 5-way episodes.
val_evaluator = dict(type='Accuracy', topk=(1,))
val_cfg = dict()
test_evaluator = []
test_cfg = dict(
    type='dynnet.FewShotTestLoop',
    num_ways=5,
    num_shots=(1, 5),
    num_queries=15,
    num_episodes=600,
    classifiers=('linear', 'cosine'),
)

# Running means of these: the loss on the maps and what is behind it, too.
log_processor = dict(mean_pattern=r'(loss|(^|_)time$|grad_norm|cam_dist|constant_maps)')
