"""AdaFocus: metrics, learning rates, frame indices and lists."""

import numpy as np
import torch

from dynnet.datasets.frame_sampling import (
    sample_glance_focus,
    sample_test,
    sample_train,
)
from dynnet.datasets.video_list import parse_video_list
from dynnet.evaluation.functional import average_precisions, softmax, top_k_accuracy
from dynnet.registry import PARAM_SCHEDULERS

from . import Case, Result, adapter


@adapter('cal_map and accuracy')
def metrics(case: Case) -> Result:
    labels = case.feed('labels')
    classes = case.meta['kwargs']['classes']
    lift = 2 * np.eye(classes, dtype=np.float32)[labels[:, 0]]
    logits = case.input() + lift
    probs = softmax(logits)
    arrays = {}
    for name, columns in (('single', labels[:, :1]), ('multi', labels)):
        positives = np.zeros(logits.shape, bool)
        for row, own in zip(positives, columns):
            row[own[own >= 0]] = True
        ap = average_precisions(probs, positives)
        arrays[f'ap_{name}'] = (100 * ap, 1e-5, 0)
        arrays[f'map_{name}'] = (np.float64(100 * ap.mean()), 1e-5, 0)
    for k in (1, 5):
        top = [100 * top_k_accuracy(logits, labels[:, 0], k)]
        arrays[f'top{k}'] = (top, 1e-5, 0)
    return Result(arrays)


def rates(groups: list[float], epochs: int) -> np.ndarray:
    """Learning rates of each epoch, by the schedule that the configs name."""
    parameters = [dict(params=[torch.zeros(1)], lr=lr) for lr in groups]
    optimizer = torch.optim.SGD(parameters, lr=0.1)
    scheduler = PARAM_SCHEDULERS.build(
        dict(
            type='CosineAnnealingLR',
            optimizer=optimizer,
            T_max=epochs,
            end=epochs + 1,
            by_epoch=True,
        )
    )
    rows = []
    for _ in range(epochs + 1):
        rows.append([group['lr'] for group in optimizer.param_groups])
        optimizer.step()
        scheduler.step()
    return np.array(rows)


LISTS = dict(
    actnet=dict(delimiter=',', max_labels=3, min_frames=3),
    fcvid=dict(delimiter=',', max_labels=3, min_frames=3),
    minik=dict(delimiter=' ', min_frames=3),
)


@adapter('learning-rate tables, frame indices (1-based), list parsing')
def rules(case: Case) -> Result:
    arrays = {
        f'act_lr_stage{stage}': (rates(groups, epochs), 1e-4, 1e-9)
        for stage, groups, epochs in (
            (0, [0.01, 0.01, 0.005], 15),
            (1, [5e-4, 0.05], 50),
            (3, [0.005], 10),
        )
    }
    lengths = case.meta['kwargs']['lengths']

    def table(sample) -> tuple:
        return np.stack([sample(n) for n in lengths]) + 1, 0, 0

    def seeded(number: int) -> np.random.RandomState:
        return np.random.RandomState(number)

    for t in (8, 16):
        arrays[f'act_val_idx_t{t}'] = table(lambda n, t=t: sample_test(n, t))
        arrays[f'act_train_idx_t{t}'] = table(
            lambda n, t=t: sample_train(n, t, rng=seeded(n))
        )
    for i, group in enumerate(('glance', 'focus')):
        arrays[f'sth_val_{group}'] = table(
            lambda n, i=i: sample_glance_focus(n, test=True)[i]
        )
        arrays[f'sth_train_{group}'] = table(
            lambda n, i=i: sample_glance_focus(n, rng=seeded(n))[i]
        )
    facts = dict(list_parsing={})
    for name, given in case.meta['list_parsing'].items():
        records, _ = parse_video_list(given['text'].splitlines(), **LISTS[name])
        found = [[r.path, r.num_frames, [*r.labels, -1, -1][:3]] for r in records]
        facts['list_parsing'][name] = dict(text=given['text'], records=found)
    return Result(arrays, facts)
