"""LASNet's budget: bounds over training, distances, gradients."""

import math

import pytest
import torch

from dynnet.models.gates import BlockCosts, BlockRecord, GateMeter, GateOutput
from dynnet.models.losses import MACsBudgetLoss, bounds_loss, ratio_bounds
from dynnet.utils.errors import ConfigError


def test_bounds_open_from_the_target():
    assert ratio_bounds(0.4, 0) == (0.4, 0.4)
    lower, upper = ratio_bounds(0.4, 0.5)  # cos^2(pi / 4) = 1/2
    assert math.isclose(lower, 0.2) and math.isclose(upper, 0.7)
    lower, upper = ratio_bounds(0.4, 2)
    assert abs(lower) < 1e-12 and abs(upper - 1) < 1e-12


def test_bounds_loss():
    ratios = torch.tensor([0.1, 0.5, 1.0])
    expected = ((0.2 - 0.1) ** 2 + 0 + (1 - 0.7) ** 2) / 3
    assert math.isclose(bounds_loss(ratios, 0.2, 0.7).item(), expected, rel_tol=1e-6)


def meter(keep: torch.Tensor) -> GateMeter:
    gate = GateOutput(keep, tuple(keep.shape[2:]), 1)
    return GateMeter([BlockRecord('b', gate, BlockCosts(0, 1000, 3000))], 1000)


def test_loss_and_its_gradient():
    keep = torch.zeros(2, 1, 4, 4)
    keep[0] = 1
    keep.requires_grad_()
    loss = MACsBudgetLoss(0.4, loss_weight=10.0)
    losses = loss(meter(keep), full_macs=10000)
    # Half of everything beside the static part: 1000 + 500 + 1500.
    assert math.isclose(losses['loss_macs'].item(), 10 * 0.1**2, rel_tol=1e-4)
    assert losses['loss_bounds'] == 0  # open without a hook
    assert losses['density'] == 0.5
    assert losses['macs_ratio'].item() == pytest.approx(0.3)
    losses['loss_macs'].backward()
    # The first convolution's share has no gradient: a dilated mask is a threshold.
    slope = 10 * 2 * (0.3 - 0.4) * 3000 / 10000 / keep.numel()
    torch.testing.assert_close(keep.grad, torch.full_like(keep, slope))
    loss.progress = 0.0
    pinned = loss(meter(keep))
    assert pinned['loss_bounds'].item() == pytest.approx(10 * (0.5 - 0.4) ** 2)
    assert pinned['macs_ratio'].item() == pytest.approx(3000 / 5000)


def test_without_bounds_and_names_for_the_log():
    losses = MACsBudgetLoss(0.5, 1.0, with_bounds=False)(meter(torch.ones(1, 1, 2, 2)))
    assert sorted(losses) == ['density', 'loss_macs', 'macs_ratio']


@pytest.mark.parametrize('target', [0, 1, 1.5, -0.1, float('nan')])
def test_refuses_a_target_outside_of_0_to_1(target):
    with pytest.raises(ConfigError, match='between 0 and 1'):
        MACsBudgetLoss(target)


def test_refuses_a_model_without_gates():
    with pytest.raises(ConfigError, match='needs a backbone with gates'):
        MACsBudgetLoss(0.5)(GateMeter())
