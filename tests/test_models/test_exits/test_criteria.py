import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dynnet.models.exits import (
    Entropy,
    ExitCriterion,
    Margin,
    MaxSoftmax,
    Patience,
    build_criterion,
)

LOGITS = torch.log(torch.tensor([[0.7, 0.2, 0.1], [0.25, 0.5, 0.25]]))


def test_scores_by_hand():
    torch.testing.assert_close(MaxSoftmax()(LOGITS)[0], torch.tensor([0.7, 0.5]))
    torch.testing.assert_close(Margin()(LOGITS)[0], torch.tensor([0.5, 0.25]))
    entropy = -sum(p * math.log(p) for p in (0.7, 0.2, 0.1)) / math.log(3)
    scores, memory = Entropy()(LOGITS)
    assert scores[0].item() == pytest.approx(1 - entropy, abs=1e-6)
    assert memory is None


@pytest.mark.parametrize('criterion', [MaxSoftmax(), Margin(), Entropy()])
def test_surer_means_larger(criterion):
    direction = torch.tensor([3.0, 1.0, 0.0, -1.0])
    logits = torch.linspace(0, 60, 30)[:, None] * direction
    scores, _ = criterion(logits)
    assert (scores.diff() >= 0).all() and scores[-1] == pytest.approx(1)
    assert scores.isfinite().all()


def test_entropy_of_extremes():
    sure = torch.tensor([[float('inf'), 0.0]]).neg().flip(1)  # [0, -inf]
    scores, _ = Entropy()(torch.cat([sure, torch.zeros(1, 2)]))
    torch.testing.assert_close(scores, torch.tensor([1.0, 0.0]))


@pytest.mark.parametrize('criterion', [MaxSoftmax(), Margin(), Entropy(), Patience()])
@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16, torch.float64])
def test_scores_are_float32(criterion, dtype):
    logits = torch.randn(4, 5, 10, generator=torch.Generator().manual_seed(0))
    scores = criterion.score_all(logits.to(dtype))
    assert scores.shape == (4, 5) and scores.dtype == torch.float32
    # Near 1, half precision would tie these two.
    if isinstance(criterion, MaxSoftmax):
        close = torch.tensor([[8.0, 0.0], [8.25, 0.0]]).to(dtype)
        first, second = criterion(close)[0]
        assert first < second


@pytest.mark.parametrize('criterion', [Margin(), Entropy()])
def test_one_class_is_refused(criterion):
    with pytest.raises(ValueError, match=r'at least 2, got logits of shape \(3, 1\)'):
        criterion(torch.zeros(3, 1))


def slow_runs(labels):
    """Length of the run of equal labels that ends at each exit."""
    runs = []
    for k, label in enumerate(labels):
        runs.append(1 + runs[-1] if k and labels[k - 1] == label else 1)
    return runs


@settings(deadline=None)
@given(st.lists(st.lists(st.integers(0, 2), min_size=6, max_size=6), min_size=1))
def test_patience_counts_agreeing_exits(labels):
    logits = torch.nn.functional.one_hot(torch.tensor(labels).T, 3).float()
    scores = Patience().score_all(logits)
    assert scores.T.tolist() == [slow_runs(row) for row in labels]


def test_patience_follows_the_samples_that_stay():
    labels = torch.tensor([[0, 1, 2, 1], [0, 2, 2, 1], [0, 2, 1, 1]])
    logits = torch.nn.functional.one_hot(labels, 3).float()
    criterion = Patience()
    everything = criterion.score_all(logits)
    _, memory = criterion(logits[0])
    stay = torch.tensor([1, 3])
    scores, memory = criterion(logits[1, stay], memory[stay])
    assert scores.tolist() == everything[1, stay].tolist()
    scores, _ = criterion(logits[2, stay[1:]], memory[1:])
    assert scores.tolist() == everything[2, stay[1:]].tolist()


def test_patience_settings():
    assert Patience(3).default_thresholds(5) == [3.0] * 4
    assert not Patience.solvable and MaxSoftmax.solvable
    assert MaxSoftmax().default_thresholds(5) is None
    for bad in (0, -1, 1.5):
        with pytest.raises(ValueError, match='positive integer'):
            Patience(bad)


def test_built_from_a_config():
    built = build_criterion(dict(type='dynnet.Patience', patience=4))
    assert isinstance(built, Patience) and built.patience == 4
    assert build_criterion(built) is built
    assert build_criterion(dict(type=Margin)).config == dict(type='Margin')
    with pytest.raises(ValueError, match="'Luck'; registered: Entropy, Margin"):
        build_criterion(dict(type='Luck'))


def test_others_can_be_registered():
    from dynnet.registry import EXIT_CRITERIA

    @EXIT_CRITERIA.register_module(name='TestOnlyEnergy')
    class Energy(ExitCriterion):
        def __call__(self, logits, memory=None):
            return logits.float().logsumexp(dim=1), None

    try:
        built = build_criterion(dict(type='TestOnlyEnergy'))
        assert built.score_all(torch.zeros(2, 3, 4)).shape == (2, 3)
    finally:
        EXIT_CRITERIA.module_dict.pop('TestOnlyEnergy')
