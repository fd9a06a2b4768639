"""Metrics against loops over samples."""

import json
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmengine.evaluator import Evaluator
from mmengine.structures import BaseDataElement

from dynnet.evaluation import (
    AnytimeAccuracy,
    BudgetedBatchMetric,
    CalibrationTable,
    CostMetric,
)
from dynnet.evaluation.functional import calibration_error, format_cost, format_table
from dynnet.models.exits import BudgetSolver, ExitThresholds, assign_exits
from dynnet.registry import METRICS
from dynnet.utils.errors import DataError

NUM_EXITS, CLASSES = 3, 6
COSTS = [10e6, 20e6, 40e6]


def make_logits(n=200, seed=0):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(NUM_EXITS, n, CLASSES, generator=generator)
    target = torch.randint(CLASSES, (n,), generator=generator)
    rows = torch.arange(n)
    for k in range(NUM_EXITS):
        logits[k, rows, target] += 0.8 * (k + 1)
    return logits, target


def simulate(logits, target, topk=5):
    """Data samples as a classifier in mode 'simulate' gives them."""
    probs = logits.softmax(-1)
    top = probs.topk(topk, dim=-1)
    return [
        BaseDataElement(
            gt_label=target[i : i + 1],
            exit_labels=top.indices[:, i],
            exit_confs=top.values[:, i, 0],
            exit_scores=probs[:, i].amax(-1),
        )
        for i in range(len(target))
    ]


def evaluate(metric, samples, batch=64):
    evaluator = Evaluator([metric])
    for start in range(0, len(samples), batch):
        evaluator.process(samples[start : start + batch])
    return evaluator.evaluate(len(samples))


def slow_ece(confidences, correct, num_bins=15):
    total = 0.0
    for b in range(num_bins):
        inside = [
            i
            for i, c in enumerate(confidences)
            if b / num_bins < c <= (b + 1) / num_bins or (b == 0 and c == 0)
        ]
        if inside:
            accuracy = np.mean([correct[i] for i in inside])
            confidence = np.mean([confidences[i] for i in inside])
            total += len(inside) * abs(accuracy - confidence)
    return total / len(confidences)


def test_anytime_accuracy_equals_counting():
    logits, target = make_logits()
    metrics = evaluate(
        AnytimeAccuracy(topk=(1, 5), exit_costs=COSTS), simulate(logits, target)
    )
    for k in range(NUM_EXITS):
        ranked = logits[k].argsort(dim=1, descending=True)
        for top in (1, 5):
            hits = sum(
                int(t in row[:top]) for t, row in zip(target, ranked, strict=True)
            )
            key = f'anytime/exit{k + 1}_top{top}'
            assert metrics[key] == pytest.approx(100 * hits / len(target))
        probs = logits[k].softmax(1).max(1)
        ece = slow_ece(probs.values.tolist(), (probs.indices == target).tolist())
        assert metrics[f'anytime/exit{k + 1}_ece'] == pytest.approx(100 * ece, abs=1e-4)
        assert metrics[f'anytime/exit{k + 1}_macs'] == COSTS[k]
    assert metrics['anytime/last_top1'] == metrics['anytime/exit3_top1']
    tops = [metrics[f'anytime/exit{k}_top1'] for k in (1, 2, 3)]
    assert metrics['anytime/mean_top1'] == pytest.approx(np.mean(tops))
    assert tops == sorted(tops) and tops[0] < tops[2]


def test_anytime_accuracy_without_costs():
    logits, target = make_logits(20)
    metric = AnytimeAccuracy()
    metrics = evaluate(metric, simulate(logits, target, topk=1))
    assert not any('macs' in key for key in metrics)
    title, header, rows = metric.table()
    assert header == ['exit', 'top1', 'ece'] and [row[0] for row in rows] == list('123')


def test_anytime_table_has_the_costs():
    logits, target = make_logits(20)
    metric = AnytimeAccuracy(exit_costs=COSTS)
    metric.published_flops = [11e6, 22e6, 43.21e6]
    metrics = evaluate(metric, simulate(logits, target))
    assert metrics['anytime/exit3_published_flops'] == 43.21e6
    header, rows = metric.table()[1:]
    assert header == ['exit', 'top1', 'ece', 'macs', 'published_flops']
    assert rows[2][3:] == ['40.00M', '43.21M']


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from([0.0, 0.2, 0.5, 0.6, 1.0]), st.booleans()), min_size=1
    ),
    st.integers(1, 20),
)
def test_calibration_error_equals_counting(samples, num_bins):
    confidences, correct = map(np.array, zip(*samples, strict=True))
    # Off the bins' borders, where the definition by division is itself unsure.
    confidences = np.clip(confidences + 1e-3, 0, 1)
    ours = calibration_error(confidences, correct, num_bins)
    assert ours == pytest.approx(slow_ece(confidences, correct, num_bins))


def test_calibration_error_by_hand():
    confidences = np.array([0.95, 0.95, 0.95, 0.95, 0.55, 0.55])
    correct = np.array([1, 1, 1, 0, 1, 0], bool)
    expected = (4 * abs(0.75 - 0.95) + 2 * abs(0.5 - 0.55)) / 6
    assert calibration_error(confidences, correct) == pytest.approx(expected)


def solve(scores, correct, **solver):
    return ExitThresholds(
        criterion=dict(type='MaxSoftmax'),
        exit_costs=COSTS,
        points=BudgetSolver(**solver).solve(scores, COSTS, correct),
    )


def test_budgeted_batch_equals_counting(tmp_path):
    calib_logits, calib_target = make_logits(300, seed=1)
    table = CalibrationTable()
    arrays = evaluate(table, simulate(calib_logits, calib_target))
    scores, correct = arrays['calibration/scores'], arrays['calibration/correct']
    np.testing.assert_array_equal(scores, calib_logits.softmax(-1).amax(-1))
    np.testing.assert_array_equal(correct, calib_logits.argmax(-1) == calib_target)
    thresholds = solve(scores, correct, p=[5, 10, 30])
    thresholds.save(tmp_path / 'thresholds.json')

    logits, target = make_logits(200, seed=2)
    metric = BudgetedBatchMetric(calibration=str(tmp_path / 'thresholds.json'))
    metrics = evaluate(metric, simulate(logits, target))
    probs = logits.softmax(-1)
    for point in thresholds.points:
        hits = cost = 0
        for i in range(len(target)):
            for k in range(NUM_EXITS):
                if k == NUM_EXITS - 1 or probs[k, i].max() >= point.thresholds[k]:
                    hits += int(probs[k, i].argmax() == target[i])
                    cost += COSTS[k]
                    break
        assert metrics[f'budgeted/{point.name}_top1'] == pytest.approx(hits / 2)
        assert metrics[f'budgeted/{point.name}_macs'] == pytest.approx(cost / 200)
    assert len(metrics) == 6 and len(metric.curve) == 3
    header, rows = metric.table()[1:]
    assert [row[0] for row in rows] == ['p5', 'p10', 'p30']
    assert all(len(row) == len(header) for row in rows)


def test_budgeted_batch_needs_thresholds():
    samples = simulate(*make_logits(10))
    with pytest.raises(ValueError, match='has no thresholds: use .*EarlyExitTestLoop'):
        evaluate(BudgetedBatchMetric(), samples)
    wrong = ExitThresholds(
        dict(type='MaxSoftmax'),
        [1.0, 2.0],
        BudgetSolver(p=[5]).solve(np.random.rand(2, 9), [1, 2]),
    )
    with pytest.raises(ValueError, match='3 exits need 2 thresholds .* got 1'):
        evaluate(BudgetedBatchMetric(wrong), samples)


def executed(with_cost=True):
    logits, target = make_logits()
    exits = assign_exits(logits.softmax(-1).amax(-1), [0.6, 0.6])
    chosen = logits[exits, torch.arange(len(target))]
    samples = []
    for i in range(len(target)):
        sample = BaseDataElement(
            gt_label=target[i : i + 1],
            pred_label=chosen[i : i + 1].argmax(1),
            exit_index=exits[i : i + 1],
        )
        if with_cost:
            sample.cost = torch.tensor([COSTS[exits[i]]])
        samples.append(sample)
    return samples, exits.numpy(), (chosen.argmax(1) == target).float().mean().item()


@pytest.mark.parametrize('with_cost', [True, False])
def test_cost_metric_equals_counting(with_cost):
    samples, exits, accuracy = executed(with_cost)
    metrics = evaluate(CostMetric(exit_costs=COSTS), samples)
    costs = np.array(COSTS)[exits]
    assert metrics['executed/top1'] == pytest.approx(100 * accuracy)
    assert metrics['executed/mean_macs'] == pytest.approx(costs.mean())
    assert metrics['executed/std_macs'] == pytest.approx(costs.std())
    for k in range(NUM_EXITS):
        share = metrics[f'executed/exit{k + 1}_share']
        assert share == pytest.approx(100 * (exits == k).mean())


def test_cost_metric_in_another_unit():
    samples, exits, _ = executed()
    metrics = evaluate(CostMetric(exit_costs=[1, 2, 3], cost_unit='ms'), samples)
    assert metrics['executed/mean_ms'] == pytest.approx(1 + exits.mean())


def test_cost_metric_needs_costs():
    samples, _, _ = executed(with_cost=False)
    with pytest.raises(ValueError, match="no 'cost' and the costs of the exits"):
        evaluate(CostMetric(), samples)


def test_padded_samples_are_dropped():
    logits, target = make_logits(10)
    samples = simulate(logits, target)
    padded = samples + samples[:2]  # as a distributed sampler fills up
    for metric in (AnytimeAccuracy(), CalibrationTable()):
        evaluator = Evaluator([metric])
        evaluator.process(padded)
        ours = evaluator.evaluate(size=10)
        expected = evaluate(metric, samples)
        for key in expected:
            np.testing.assert_array_equal(ours[key], expected[key])


def test_little_is_kept_per_sample():
    """Not a view of the batch: E confidences and hits, whatever the batch holds."""
    logits, target = make_logits(64)
    for metric in (AnytimeAccuracy(topk=(1, 5)), CalibrationTable()):
        metric.process(None, [s.to_dict() for s in simulate(logits, target)])
        assert len(metric.results) == 64
        for array in metric.results[0]:
            assert array.size <= 2 * NUM_EXITS and len(pickle.dumps(array)) < 400
            assert array.base is None or array.base.size <= 5 * NUM_EXITS


@pytest.mark.parametrize('metric', [AnytimeAccuracy, CalibrationTable, CostMetric])
def test_no_samples(metric):
    with pytest.raises(ValueError, match='dataloader is empty'):
        evaluate(metric(), [])


def test_bad_samples():
    (sample,) = simulate(*make_logits(1))
    with pytest.raises(ValueError, match='top 6, the model keeps 5 labels'):
        evaluate(AnytimeAccuracy(topk=6), [sample])
    with pytest.raises(ValueError, match="field 'exit_index' .*'execute'"):
        evaluate(CostMetric(), [sample])
    with pytest.raises(ValueError, match='got 2 exit costs for 3 exits'):
        evaluate(AnytimeAccuracy(exit_costs=[1, 2]), [sample])
    with pytest.raises(ValueError, match=r'one label per sample, got \[1, 2\]'):
        evaluate(
            AnytimeAccuracy(),
            [dict(sample.to_dict(), gt_label=torch.tensor([1, 2]))],
        )
    del sample.exit_labels
    with pytest.raises(ValueError, match="field 'exit_labels' .*'simulate'"):
        evaluate(AnytimeAccuracy(), [sample])
    with pytest.raises(
        ValueError, match="needs the field 'gt_label' of the data samples$"
    ):
        CalibrationTable().process(None, [dict(exit_labels=torch.zeros(3, 1))])


def test_metrics_are_json():
    samples = simulate(*make_logits(10))
    json.dumps(evaluate(AnytimeAccuracy(exit_costs=COSTS), samples))
    json.dumps(evaluate(CostMetric(exit_costs=COSTS), executed()[0]))


def test_registered():
    for name in ('AnytimeAccuracy', 'BudgetedBatchMetric', 'CostMetric'):
        assert METRICS.get(name).__name__ == name


def test_format():
    assert (
        format_cost(12345678, 'MACs') == '12.35M'
        and format_cost(3.14159, 'ms') == '3.142'
    )
    assert format_table(['a', 'bb'], [['long', '1'], ['x', '10']]).split('\n') == [
        'a     bb',
        '----  --',
        'long   1',
        'x     10',
    ]


def test_gate_cost_metric():
    from dynnet.evaluation.metrics import GateCostMetric

    metric = GateCostMetric()
    rows = [(100.0, 0.5, [0.2, 0.8]), (300.0, 0.7, [0.4, 1.0])]
    samples = [
        dict(
            macs=torch.tensor([macs], dtype=torch.float64),
            macs_ratio=torch.tensor([ratio]),
            densities=torch.tensor(densities),
        )
        for macs, ratio, densities in rows
    ]
    metric.process(None, samples)
    found = metric.evaluate(2)
    expected = dict(mean_macs=200, std_macs=100, macs_ratio=60, density=60)
    expected |= dict(block_min=30, block_max=90)
    assert found == {f'gates/{k}': pytest.approx(v) for k, v in expected.items()}
    with pytest.raises(DataError, match='no samples'):
        GateCostMetric().compute_metrics([])
