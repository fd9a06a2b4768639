"""Gates: decisions, sizes, gradients, and what they cost."""

import pytest
import torch
from torch import nn

from dynnet.models.gates import (
    BlockCosts,
    BlockRecord,
    GateMeter,
    GateOutput,
    LayerGate,
    SpatialGate,
    current_meter,
    gumbel_softmax_mask,
    hard_mask,
    measure_gates,
)
from dynnet.registry import MODELS
from dynnet.utils.errors import ConfigError


def test_hard_mask_keeps_ties():
    logits = torch.tensor([[1.0, 2.0, 3.0], [2.0, 2.0, 2.0]]).view(1, 2, 3)
    assert hard_mask(logits).tolist() == [[0, 1, 1]]


def test_gumbel_keeps_with_the_softmax_probability_at_any_temperature():
    logits = torch.tensor([0.8, -0.4]).view(1, 2, 1).expand(1, 2, 20000)
    torch.manual_seed(0)
    for tau in (5.0, 0.1):
        share = gumbel_softmax_mask(logits, tau).mean().item()
        assert abs(share - torch.sigmoid(torch.tensor(1.2)).item()) < 0.015


def test_gumbel_gradient_is_that_of_the_soft_decision():
    logits = torch.randn(2, 2, 5, dtype=torch.float64, requires_grad=True)
    tau = 0.7
    torch.manual_seed(3)
    mask = gumbel_softmax_mask(logits, tau)
    assert set(mask.detach().round(decimals=9).unique().tolist()) <= {0.0, 1.0}
    (grad,) = torch.autograd.grad(mask.sum(), logits)

    def soft(values):
        torch.manual_seed(3)
        noise = -torch.empty_like(values).exponential_().log()
        return ((values + noise) / tau).softmax(1)[:, 0].sum()

    eps = 1e-6
    for index in [(0, 0, 1), (1, 1, 4), (0, 1, 2)]:
        step = torch.zeros_like(logits)
        step[index] = eps
        with torch.no_grad():
            slope = (soft(logits + step) - soft(logits - step)) / (2 * eps)
        assert abs(slope - grad[index]) < 1e-6


def test_gumbel_refuses_a_temperature_of_zero():
    with pytest.raises(ValueError, match='positive, got 0'):
        gumbel_softmax_mask(torch.zeros(1, 2, 1), 0)


@pytest.mark.parametrize('size', [(28, 28), (15, 22), (7, 9), (3, 2), (1, 1)])
@pytest.mark.parametrize('stride', [1, 2])
@pytest.mark.parametrize('granularity', [1, 4, 7, 50])
def test_masks_by_brute_force(size, stride, granularity):
    torch.manual_seed(0)
    gate = SpatialGate(3, granularity, keep_bias=0.0).eval()
    out = gate(torch.randn(2, 3, *size), stride)
    height, width = -(-size[0] // stride), -(-size[1] // stride)
    h, w = max(1, height // granularity), max(1, width // granularity)
    assert out.coarse.shape == (2, 1, h, w)
    assert out.mask.shape == (2, 1, height, width)
    assert out.dilated.shape == (2, 1, *size)
    dilated = torch.zeros(2, *size)
    for n in range(2):
        for i in range(height):
            for j in range(width):
                value = out.coarse[n, 0, i * h // height, j * w // width]
                assert out.mask[n, 0, i, j] == value
                if value:
                    top, left = max(0, stride * i - 1), max(0, stride * j - 1)
                    dilated[n, top : stride * i + 2, left : stride * j + 2] = 1
    assert torch.equal(out.dilated[:, 0], dilated)


def test_gate_pools_the_input_to_the_outputs_patches():
    gate = SpatialGate(2, 2).eval()
    x = torch.randn(1, 2, 8, 8)
    pooled = x.view(1, 2, 2, 4, 2, 4).mean((3, 5))  # stride 2 and S = 2: 4 x 4 windows
    weight, bias = gate.conv.weight.flatten(1), gate.conv.bias
    expected = torch.einsum('oc,nchw->nohw', weight, pooled) + bias.view(1, 2, 1, 1)
    torch.testing.assert_close(gate.logits(x, 2), expected)


def test_groups_have_masks_of_their_own_and_one_union():
    torch.manual_seed(1)
    gate = SpatialGate(4, 2, groups=3, keep_bias=0.0).eval()
    out = gate(torch.randn(2, 4, 8, 8))
    assert out.mask.shape == (2, 3, 8, 8) and out.dilated.shape == (2, 1, 8, 8)
    union = out.mask.amax(1, keepdim=True)
    assert torch.equal(
        out.dilated, nn.functional.max_pool2d(union, 3, stride=1, padding=1)
    )


def test_layer_gate_decides_per_sample():
    gate = LayerGate(1).eval()
    with torch.no_grad():
        gate.conv.weight[:] = torch.tensor([1.0, -1.0]).view(2, 1, 1, 1)
        gate.conv.bias.zero_()
    x = torch.tensor([1.0, -1.0]).view(2, 1, 1, 1).expand(2, 1, 5, 9)
    out = gate(x, 2)
    assert out.coarse.shape == (2, 1, 1, 1)
    assert out.mask[0].eq(1).all() and out.mask[1].eq(0).all()
    assert out.sample_density.tolist() == [1, 0] and out.density == 0.5


def test_initialisation_and_the_networks_own_rule():
    gate = MODELS.build(dict(type='dynnet.SpatialGate', in_channels=16, groups=2))
    nn.init.zeros_(gate.conv.weight)
    nn.init.zeros_(gate.conv.bias)
    gate.init_weights()
    assert gate.conv.bias[:2].tolist() == [5, 5]
    assert (gate.conv.bias[2:].abs() <= 0.25).all() and gate.conv.bias[2:].any()
    assert 0 < gate.conv.weight.abs().max() <= 0.25
    wide = SpatialGate(400, keep_bias=10.0, weight_std=1.0)
    assert 0.9 < wide.conv.weight.std() < 1.1 and wide.conv.bias[0] == 10


def test_bad_settings():
    with pytest.raises(ConfigError, match='granularity'):
        SpatialGate(3, 0)
    with pytest.raises(ConfigError, match='groups=0'):
        SpatialGate(3, groups=0)


def test_training_gate_passes_gradients_and_half_inputs():
    gate = SpatialGate(3, 2, tau=1.0)
    out = gate(torch.randn(2, 3, 8, 8))
    out.density.backward()
    assert gate.conv.weight.grad.abs().sum() > 0
    assert not out.dilated.requires_grad
    half = gate.to(torch.bfloat16)(torch.randn(2, 3, 8, 8, dtype=torch.bfloat16))
    assert half.mask.dtype == torch.bfloat16 and half.density.dtype == torch.float32


def test_meter_counts_batch_and_samples_alike():
    torch.manual_seed(0)
    meter = GateMeter(static_macs=1000)
    for _ in range(3):
        coarse = (torch.rand(4, 1, 6, 6) < 0.4).float()
        gate = GateOutput(coarse, (12, 12), 1)
        meter.records.append(BlockRecord('b', gate, BlockCosts(10, 2000, 5000, 300)))
    by_hand = 1000 + sum(
        10
        + 300
        + 2000 * r.gate.dilated.mean().item()
        + 5000 * r.gate.coarse.mean().item()
        for r in meter.records
    )
    assert abs(meter.macs.item() - by_hand) < 1e-2
    assert meter.sample_macs.shape == (4,)
    assert abs(meter.sample_macs.mean().item() - by_hand) < 1e-2
    assert meter.dense_macs == 1000 + 3 * 7310
    assert meter.sample_densities.shape == (4, 3)
    torch.testing.assert_close(meter.sample_densities.mean(0), meter.densities)


def test_meters_nest_and_close():
    assert current_meter() is None
    with measure_gates() as outer:
        with measure_gates() as inner:
            assert current_meter() is inner
        assert current_meter() is outer
    with pytest.raises(RuntimeError), measure_gates():
        raise RuntimeError
    assert current_meter() is None
