"""Few-shot episodes: what is drawn, what is fitted, what is reported."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from dynnet.evaluation.few_shot import (
    draw_episodes,
    episode_accuracies,
    fit_cosine,
    fit_linear,
    mean_and_interval,
)
from dynnet.utils.errors import ConfigError

LABELS = np.repeat(np.arange(6), 30)


def clusters(spread: float, offset: float = 0.0) -> torch.Tensor:
    """Features of six classes around six directions."""
    generator = torch.Generator().manual_seed(0)
    centres = torch.eye(6, 16)[LABELS]
    noise = torch.randn(180, 16, generator=generator)
    return 5 * centres + spread * noise + offset


def test_episodes_are_what_they_should_be():
    support, query = draw_episodes(LABELS, 4, 5, 15, 50, seed=3)
    assert support.shape == (50, 4, 5) and query.shape == (50, 4, 15)
    for s, q in zip(support, query):
        classes = LABELS[s[:, 0]]
        assert len(set(classes)) == 4
        assert (LABELS[s] == classes[:, None]).all()
        assert (LABELS[q] == classes[:, None]).all()
        drawn = np.concatenate([s.ravel(), q.ravel()])
        assert len(set(drawn)) == drawn.size
    again = draw_episodes(LABELS, 4, 5, 15, 50, seed=3)
    assert (again[0] == support).all() and (again[1] == query).all()
    other = draw_episodes(LABELS, 4, 5, 15, 50, seed=4)
    assert (other[0] != support).any()


@pytest.mark.parametrize('classifier', ['linear', 'cosine'])
def test_accuracy_follows_the_features(classifier):
    support, query = draw_episodes(LABELS, 4, 5, 15, 120, seed=0)
    clear = episode_accuracies(clusters(0.1), support, query, classifier)
    noise = torch.randn(180, 16, generator=torch.Generator().manual_seed(1))
    blind = episode_accuracies(noise, support, query, classifier)
    assert clear.shape == (120,) and clear.min() == 1
    assert 0.2 < blind.mean() < 0.3  # chance is a quarter


def test_linear_does_not_depend_on_offset_and_scale():
    support, query = draw_episodes(LABELS, 4, 1, 15, 30, seed=0)
    plain = episode_accuracies(clusters(1.5), support, query, 'linear')
    moved = episode_accuracies(7 * clusters(1.5, 2.0), support, query, 'linear')
    assert np.allclose(plain, moved, atol=0.02) and 0.4 < plain.mean() < 1


def test_linear_is_at_the_minimum_of_what_it_says():
    known = clusters(1.0).double().view(6, 30, 16)[None, :4, :5]
    weight, bias = fit_linear(known, steps=3000)
    x = known.flatten(1, 2)
    centre, target = x.mean(1, keepdim=True), torch.arange(4).repeat_interleave(5)
    norm = (x - centre).norm(dim=-1).mean()
    w = (weight * norm).requires_grad_()
    b = (bias + (weight * centre).sum(2)).requires_grad_()
    logits = ((x - centre) / norm) @ w[0].t() + b
    value = F.cross_entropy(logits[0], target) + 5e-4 * w.square().sum()
    grads = torch.autograd.grad(value, [w, b])
    assert max(float(g.abs().max()) for g in grads) < 1e-6
    assert float(w.detach().abs().max()) > 0.1


def test_cosine_weights_have_length_one_and_learn():
    known = clusters(2.0).view(6, 30, 16)[None, :4, :5]
    weight = fit_cosine(known)
    assert torch.allclose(weight.norm(dim=-1), torch.ones(1, 4))
    x, target = F.normalize(known.flatten(1, 2), dim=-1)[0], torch.arange(4)
    target = target.repeat_interleave(5)
    means = F.normalize(F.normalize(known, dim=-1).mean(2), dim=-1)
    before = F.cross_entropy(10 * x @ means[0].t(), target)
    after = F.cross_entropy(10 * x @ weight[0].t(), target)
    assert after < before


def test_episodes_do_not_disturb_each_other():
    support, query = draw_episodes(LABELS, 4, 1, 15, 130, seed=0)  # two chunks
    together = episode_accuracies(clusters(1.5), support, query, 'linear')
    alone = episode_accuracies(clusters(1.5), support[120:], query[120:], 'linear')
    assert np.allclose(together[120:], alone, atol=0.02)


def test_interval():
    values = np.array([0.2, 0.4, 0.6, 0.8])
    mean, half = mean_and_interval(values)
    assert mean == pytest.approx(0.5)
    assert half == pytest.approx(1.96 * np.sqrt(0.2 / 3) / 2)


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (dict(ways=7), '7 classes, the data have 6'),
        (dict(shots=16), 'class 0 has 30 pictures, 16 shots and 15 queries need 31'),
        (dict(ways=1), 'at least 2 ways'),
        (dict(episodes=1), '2 episodes'),
    ],
)
def test_impossible_episodes_are_named(settings, message):
    given = dict(dict(ways=4, shots=1, queries=15, episodes=10, seed=0), **settings)
    with pytest.raises(ConfigError, match=message):
        draw_episodes(LABELS, **given)


def test_unknown_classifier():
    with pytest.raises(ConfigError, match="'svm': choose from linear, cosine"):
        episode_accuracies(
            clusters(1.0), *draw_episodes(LABELS, 4, 1, 1, 2, seed=0), 'svm'
        )
