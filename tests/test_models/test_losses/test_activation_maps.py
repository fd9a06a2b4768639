"""Activation maps against loops and numpy."""

import numpy as np
import pytest
import torch

from dynnet.models.losses import (
    class_activation_map,
    class_agnostic_activation_map,
    map_distance,
    min_max_normalize,
    top_share,
)
from dynnet.utils.errors import ConfigError


@pytest.fixture
def maps():
    generator = torch.Generator().manual_seed(0)
    return torch.rand(4, 3, 5, 7, generator=generator, dtype=torch.float64)


def test_class_activation_map_is_the_weighted_sum(maps):
    weight = torch.randn(6, 3, dtype=torch.float64)
    label = torch.tensor([0, 5, 2, 2])
    cam = class_activation_map(maps, weight, label)
    for n in range(4):
        for h in range(5):
            for w in range(7):
                expected = sum(weight[label[n], k] * maps[n, k, h, w] for k in range(3))
                assert cam[n, h, w] == pytest.approx(float(expected))


def test_several_classes_of_a_picture(maps):
    weight = torch.randn(6, 3, dtype=torch.float64)
    labels = torch.tensor([[0, 1], [5, 5], [2, 0], [3, 4]])
    cams = class_activation_map(maps, weight, labels)
    assert cams.shape == (4, 2, 5, 7)
    for m in range(2):
        one = class_activation_map(maps, weight, labels[:, m])
        assert torch.allclose(cams[:, m], one)


def test_mean_of_the_map_and_the_bias_are_the_logit(maps):
    """What makes it the map of *this* classifier."""
    fc = torch.nn.Linear(3, 6).double()
    logits = fc(maps.mean((2, 3)))
    label = torch.arange(4)
    cam = class_activation_map(maps, fc.weight, label)
    expected = cam.mean((1, 2)) + fc.bias[label]
    assert torch.allclose(logits[torch.arange(4), label], expected)


def test_class_agnostic_map(maps):
    signed = maps - 0.5
    assert np.allclose(class_agnostic_activation_map(signed), signed.numpy().sum(1))
    assert np.allclose(
        class_agnostic_activation_map(signed, 'abs_sum'), abs(signed.numpy()).sum(1)
    )
    with pytest.raises(ConfigError, match='abs_sum'):
        class_agnostic_activation_map(signed, 'mean')


def test_min_max_is_over_all_positions(maps):
    """Over rows or columns alone, a known slip, the result is another one."""
    scaled, varies = min_max_normalize(maps)
    for n in range(4):
        for c in range(3):
            flat = maps[n, c].numpy().ravel()
            expected = (flat - flat.min()) / (flat.max() - flat.min())
            assert np.allclose(scaled[n, c].numpy().ravel(), expected)
    assert varies.shape == (4, 3) and varies.all()
    ramp = torch.arange(16.0).view(4, 4)
    steps = min_max_normalize(ramp)[0].flatten().diff()
    assert torch.allclose(steps, torch.full((15,), 1 / 15))


def test_constant_maps_have_no_distance_and_no_gradient(maps):
    a = maps[:, 0].clone()
    a[0] = 0.0
    a[1] = 7.5
    a.requires_grad_()
    b = maps[:, 1].clone().requires_grad_()
    distance, compared = map_distance(a, b)
    assert compared.tolist() == [False, False, True, True]
    assert distance[:2].tolist() == [0, 0] and (distance[2:] > 0).all()
    distance.sum().backward()
    for grad in (a.grad, b.grad):
        assert grad.isfinite().all()
        assert (grad[:2] == 0).all() and (grad[2:] != 0).any()


def test_nan_is_not_taken_for_a_constant(maps):
    a = maps[:, 0].clone()
    a[0, 0, 0] = float('nan')
    assert map_distance(a, maps[:, 1])[0][0].isnan()


def test_distance_is_at_most_one():
    a = torch.zeros(1, 2, 2)
    a[0, 0, 0] = 3.0
    assert float(map_distance(a, -a)[0]) == 1
    assert float(map_distance(a, 5 * a + 2)[0]) == 0


def test_what_cannot_be_compared():
    with pytest.raises(ConfigError, match='1x1'):
        map_distance(torch.zeros(2, 1, 1), torch.zeros(2, 1, 1))
    with pytest.raises(ConfigError, match=r'\(4, 4\) and \(2, 2\)'):
        map_distance(torch.zeros(2, 4, 4), torch.zeros(2, 2, 2))


def test_top_share_against_sorting(maps):
    mass, guide = maps[:, 0] - 0.2, maps[:, 1]
    shares = top_share(mass, guide, 0.2)
    for n in range(4):
        positive = mass[n].clamp_min(0).flatten().numpy()
        best = np.argsort(-guide[n].flatten().numpy())[:7]  # 20 % of 35
        expected = positive[best].sum() / positive.sum()
        assert float(shares[n]) == pytest.approx(expected)
    assert float(top_share(torch.ones(8, 8), torch.rand(8, 8))) == 13 / 64
    assert float(top_share(torch.zeros(8, 8), torch.rand(8, 8))) == 0
