import numpy as np
import pytest
import torch

from dynnet.evaluation import VideoMetric
from dynnet.evaluation.functional import (
    average_precisions,
    top_k_accuracy,
    wilson_interval,
)
from dynnet.utils.errors import ConfigError, DataError


def sample(scores, label, **more):
    return dict(
        pred_score=torch.tensor(scores, dtype=torch.float32),
        gt_label=torch.tensor([label]),
        **more,
    )


def evaluate(metric, samples):
    metric.process(None, samples)
    return metric.evaluate(len(samples))


def test_average_precision_by_hand():
    scores = np.array([[0.9, 0.1], [0.8, 0.2], [0.7, 0.9], [0.1, 0.8]])
    positives = np.array([[1, 0], [0, 0], [1, 0], [0, 0]], bool)
    found = average_precisions(scores, positives)
    assert found[0] == pytest.approx((1 / 1 + 2 / 3) / 2)
    assert np.isnan(found[1])


def test_average_precision_against_a_plain_loop():
    rng = np.random.default_rng(0)
    scores, positives = rng.random((50, 7)), rng.random((50, 7)) < 0.2
    for k, found in enumerate(average_precisions(scores, positives)):
        hits, total = 0, 0.0
        for rank, index in enumerate(np.argsort(-scores[:, k]), start=1):
            if positives[index, k]:
                hits += 1
                total += hits / rank
        assert found == pytest.approx(total / hits)


def test_top_k():
    scores = np.array([[0.5, 0.3, 0.2], [0.1, 0.2, 0.7], [0.4, 0.4, 0.2]])
    labels = np.array([1, 2, 1])
    assert top_k_accuracy(scores, labels, 1) == pytest.approx(1 / 3)
    assert top_k_accuracy(scores, labels, 2) == 1
    assert top_k_accuracy(scores, labels, 5) == 1


def test_wilson_interval_holds_its_definition():
    for hits, total in ((0, 10), (81, 120), (120, 120)):
        for bound in wilson_interval(hits, total):
            if 1e-9 < bound < 1 - 1e-9:  # |p - bound| is z standard errors at the bound
                error = (bound * (1 - bound) / total) ** 0.5
                assert abs(hits / total - bound) == pytest.approx(1.959964 * error)
    assert wilson_interval(0, 10)[0] == pytest.approx(0)
    assert wilson_interval(120, 120)[1] == pytest.approx(1)


def test_first_label_and_all_labels():
    samples = [
        sample([0.6, 0.3, 0.1], 0, labels=[0, 1]),
        sample([0.2, 0.5, 0.3], 2, labels=[2]),
        sample([0.1, 0.2, 0.7], 2, labels=[1, 2]),
    ]
    first = evaluate(VideoMetric(topk=(1, 2), mean_ap='first'), samples)
    assert first['video/top1'] == pytest.approx(200 / 3)
    assert first['video/top2'] == pytest.approx(100)
    assert first['video/mAP'] == pytest.approx(100)  # class 1 has no clip
    every = evaluate(VideoMetric(mean_ap='all'), samples)
    wanted = (1 + (1 / 2 + 2 / 3) / 2 + 1) / 3
    assert every['video/mAP'] == pytest.approx(100 * wanted)


def test_broken_clips_are_left_out_and_counted():
    good = [sample([0.9, 0.1], 0, cost=3e9), sample([0.9, 0.1], 1, cost=1e9)]
    broken = sample([0.9, 0.1], 0, broken=True)
    found = evaluate(VideoMetric(topk=1), [good[0], broken, good[1]])
    assert found == {
        'video/top1': 50,
        'video/mean_macs': 2e9,
        'video/num_clips': 2,
        'video/num_broken': 1,
    }
    with pytest.raises(DataError, match=r'no clip that could be read \(1 broken\)'):
        evaluate(VideoMetric(), [broken])


def test_logits_become_probabilities_before_they_are_ranked():
    samples = [sample([5.0, 5.0], 1), sample([3.0, 0.0], 0)]
    found = evaluate(VideoMetric(topk=1, mean_ap='first', logits=True), samples)
    assert found['video/mAP'] == pytest.approx(100)
    found = evaluate(VideoMetric(topk=1, mean_ap='first'), samples)
    assert found['video/mAP'] == pytest.approx(75)


def test_what_is_missing_is_named():
    with pytest.raises(ConfigError, match="needs the field 'labels'"):
        evaluate(VideoMetric(mean_ap='all'), [sample([0.9, 0.1], 0)])
    with pytest.raises(ConfigError, match="mean_ap='every'"):
        VideoMetric(mean_ap='every')
