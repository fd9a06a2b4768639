"""Budgeted-batch evaluation: shares, thresholds, realised accuracy and cost."""

import numpy as np
import torch

from dynnet.evaluation import BudgetedBatchMetric
from dynnet.models.exits import (
    BudgetSolver,
    ExitThresholds,
    MaxSoftmax,
    assign_exits,
    exit_shares,
)

from ..loader import make_eval_table
from . import Case, Result, adapter


@adapter('dynamic_evaluate')
def run(case: Case) -> Result:
    kwargs, costs = case.meta['kwargs'], case.meta['flops_per_exit']
    num_exits = kwargs['num_exits']
    arrays, tables = {}, {}
    for tag in case.meta['input']['tags']:
        split = tag.rpartition('/')[2]
        logits, target = make_eval_table(
            tag,
            num_exits,
            kwargs[f'num_{split}'],
            kwargs['num_classes'],
            kwargs['quantise'],
        )
        logits = torch.from_numpy(logits)
        labels = logits.argmax(-1)
        arrays[f'conf_{split}'] = (MaxSoftmax().score_all(logits), 1e-6, 0)
        arrays[f'pred_{split}'] = (labels, 0, 0)
        arrays[f'target_{split}'] = (target, 0, 0)
        # The published confidences go in: another processor's softmax differs in the
        # last bit, which is enough to break or make a tie.
        tables[split] = case.feed(f'conf_{split}'), labels.numpy(), target

    scores, labels, target = tables['val']
    solver = BudgetSolver(p=kwargs['p'])
    points = solver.solve(scores, costs, labels == target)
    thresholds = np.array([p.thresholds for p in points])
    # 'Nobody leaves' and 'the last exit takes all', as the published scripts say it.
    sentinels = np.where(np.isinf(thresholds), 1e8, thresholds)
    arrays['q'] = ([exit_shares(p, num_exits) for p in kwargs['p']], 1e-6, 0)
    arrays['thresholds'] = (
        np.pad(sentinels, [(0, 0), (0, 1)], constant_values=-1e8),
        0,
        0,
    )
    arrays['acc_val'] = ([p.expected_accuracy for p in points], 1e-9, 0)
    # The published scripts sum the costs in float32.
    arrays['flops_val'] = ([p.expected_cost for p in points], 1e-6, 0)

    scores, labels, target = tables['test']
    metric = BudgetedBatchMetric(
        ExitThresholds(MaxSoftmax().config, costs, points, cost_unit='FLOPs')
    )
    samples = [
        dict(
            exit_scores=scores[:, i], exit_labels=labels[:, i, None], gt_label=target[i]
        )
        for i in range(len(target))
    ]
    metric.process(None, samples)
    metrics = metric.evaluate(len(samples))
    names = [f'budgeted/{point.name}' for point in points]
    arrays['acc_test'] = ([metrics[f'{name}_top1'] for name in names], 1e-9, 0)
    arrays['flops_test'] = ([metrics[f'{name}_flops'] for name in names], 1e-6, 0)
    exits = [assign_exits(scores, point.thresholds) for point in points]
    counts = [np.bincount(e, minlength=num_exits) for e in exits]
    arrays['exit_counts_test'] = (counts, 0, 0)
    reason = 'given: the evaluation counts with these costs'
    return Result(arrays=arrays, ignored=dict(flops_per_exit=reason))
