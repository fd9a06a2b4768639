"""Convolutions with mixed kernels: as drop-ins, in training, in mixed precision."""

import copy
import io

import pytest
import torch
import torch.nn.functional as F
from mmengine.model import ExponentialMovingAverage
from mmengine.registry import MODELS
from torch import nn

import dynnet  # noqa: F401
from dynnet.models.layers import AdaptiveRotatedConv2d, CondConv2d
from dynnet.ops import rotate_and_mix
from dynnet.utils.errors import ConfigError

KINDS = [AdaptiveRotatedConv2d, CondConv2d]


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def make(kind=AdaptiveRotatedConv2d, **kwargs):
    """A layer whose decisions differ from sample to sample."""
    settings = dict(in_channels=6, out_channels=8, kernel_size=3, padding=1)
    conv = kind(**{**settings, 'bias': True, **kwargs})
    with torch.no_grad():
        for parameter in conv.parameters():
            if parameter.dim() < 5:
                parameter.normal_()
    return conv.eval()


def from_scratch(conv: AdaptiveRotatedConv2d, x: torch.Tensor) -> torch.Tensor:
    """The layer by the paper's formulas, sample by sample, keeping nothing."""
    routing = conv.routing
    outputs = []
    for sample in x.split(1):
        y = F.conv2d(sample, routing.depthwise.weight, padding=1, groups=x.shape[1])
        mean = y.mean(1, keepdim=True)
        y = (y - mean) / (y.var(1, keepdim=True, unbiased=False) + 1e-5).sqrt()
        scale, shift = (p.view(1, -1, 1, 1) for p in routing.norm.parameters())
        pooled = (y * scale + shift).clamp(min=0).mean((2, 3))
        gates = (pooled @ routing.gate.weight.T + routing.gate.bias).sigmoid()
        turn = pooled @ routing.angle.weight.T
        angles = turn / (1 + turn.abs()) * (40 / 180 * torch.pi)
        kernel = rotate_and_mix(conv.weight.contiguous(), angles, gates)[0]
        outputs.append(
            F.conv2d(
                sample,
                kernel,
                conv.bias,
                conv.stride,
                conv.padding,
                conv.dilation,
                conv.groups,
            )
        )
    return torch.cat(outputs)


@pytest.mark.parametrize('batch', [1, 3])
@pytest.mark.parametrize(
    'settings',
    [
        {},
        dict(stride=2),
        dict(groups=2),
        dict(dilation=2, padding=2),
        dict(bias=False),
        dict(kernel_number=1),
    ],
)
def test_computes_the_papers_formulas(settings, batch):
    conv, x = make(**settings), torch.randn(batch, 6, 9, 8)
    with torch.no_grad():
        expected = from_scratch(conv, x)
        torch.testing.assert_close(conv(x), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize('kind', KINDS)
def test_samples_do_not_depend_on_each_other(kind):
    conv, x = make(kind), torch.randn(4, 6, 9, 8)
    with torch.no_grad():
        alone = torch.cat([conv(sample) for sample in x.split(1)])
        torch.testing.assert_close(conv(x), alone)
        assert (conv(x[:1].expand(2, -1, -1, -1)) - alone[:1]).abs().max() < 1e-5


def test_cond_conv_mixes_by_gates():
    conv, x = make(CondConv2d), torch.randn(2, 6, 9, 8)
    with torch.no_grad():
        gates = conv.gate(x.mean((2, 3))).sigmoid()
        kernels = torch.einsum('bn,noihw->boihw', gates, conv.weight)
        expected = [
            F.conv2d(s[None], k, conv.bias, padding=1) for s, k in zip(x, kernels)
        ]
        torch.testing.assert_close(conv(x), torch.cat(expected))


@pytest.mark.parametrize('kind', KINDS)
def test_memory_format_is_the_inputs(kind):
    conv, x = make(kind), torch.randn(2, 6, 9, 8)
    assert conv(x).is_contiguous()
    y = conv(x.contiguous(memory_format=torch.channels_last))
    assert y.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(y, conv(x))


def test_strips_give_what_the_whole_map_gives(monkeypatch):
    from dynnet.models.layers import adaptive_rotated_conv as module

    conv, x = make(), torch.randn(2, 6, 23, 8)
    whole = conv(x)
    monkeypatch.setattr(module, '_STRIP_BYTES', 4000)
    with torch.no_grad():
        assert conv.routing._strip_rows(x) == 5
        torch.testing.assert_close(conv(x), whole.detach())


@pytest.mark.parametrize('kind', KINDS)
def test_empty_batch(kind):
    conv = make(kind).train()
    y = conv(torch.zeros(0, 6, 9, 8))
    assert y.shape == (0, 8, 9, 8)
    y.sum().backward()
    assert all((p.grad == 0).all() for p in conv.parameters())


def changed(conv, x):
    """Its output must be that of a new layer with the same parameters."""
    new = make(type(conv))
    new.load_state_dict(conv.state_dict(), strict=True)
    with torch.no_grad():
        torch.testing.assert_close(conv(x), new.to(x.dtype)(x), rtol=1e-5, atol=1e-5)
        return conv(x)


def test_nothing_becomes_stale():
    conv, x = make(), torch.randn(2, 6, 9, 8)
    outputs = [changed(conv, x)]

    conv.load_state_dict(make().state_dict())
    outputs.append(changed(conv, x))

    for fused in (False, True):
        optimizer = torch.optim.SGD(
            conv.parameters(), lr=0.1, momentum=0.9, fused=fused
        )
        conv(x).square().mean().backward()
        optimizer.step()
        outputs.append(changed(conv, x))

    conv.weight.data.mul_(1.5)
    outputs.append(changed(conv, x))

    ema = ExponentialMovingAverage(conv, momentum=0.5)
    conv.weight.data.mul_(2)
    ema.update_parameters(conv)
    ema.update_parameters(conv)
    outputs.append(changed(ema.module, x))
    for ours, theirs in zip(conv.parameters(), ema.module.parameters()):  # EMAHook
        swap = ours.data.clone()
        ours.data.copy_(theirs.data)
        theirs.data.copy_(swap)
    outputs.append(changed(conv, x))

    twin = copy.deepcopy(conv)
    twin.weight.data.zero_()
    assert torch.equal(twin(x).detach(), twin.bias.view(1, -1, 1, 1).expand(2, 8, 9, 8))
    torch.testing.assert_close(changed(conv, x), outputs[-1])
    double = copy.deepcopy(conv).double()
    torch.testing.assert_close(
        double(x.double()).float(), conv(x), rtol=1e-4, atol=1e-4
    )
    assert all(not torch.allclose(a, b) for a, b in zip(outputs, outputs[1:-1]))


def test_published_layout_survives_saving():
    conv = make()
    assert conv.state_dict()['weight'].shape == (4, 8, 6, 3, 3)
    assert {'routing.gate.bias', 'weight', 'bias'} <= set(conv.state_dict())
    assert len(conv.state_dict()) == 8
    file = io.BytesIO()
    torch.save(conv.state_dict(), file)
    file.seek(0)
    loaded = torch.load(file, weights_only=True)
    assert torch.equal(loaded['weight'], conv.weight)
    conv(torch.randn(1, 6, 5, 5)).sum().backward()
    # Copies and gradients keep the strides, so mixing copies nothing.
    assert conv.weight.grad.stride() == conv.weight.stride()
    assert copy.deepcopy(conv).weight.stride() == conv.weight.stride()


@pytest.mark.parametrize('kind', KINDS)
def test_channels_last_model(kind):
    """torch asks for channels-last of all that has four or five axes."""
    conv, x = make(kind), torch.randn(2, 6, 9, 8)
    expected, strides = conv(x), conv.weight.stride()
    moved = nn.Sequential(copy.deepcopy(conv)).to(memory_format=torch.channels_last)
    assert moved[0].weight.stride() == strides
    assert torch.equal(moved[0].weight, conv.weight)
    torch.testing.assert_close(moved(x), expected)


def test_gradcheck_of_the_whole_layer():
    conv = make(in_channels=2, out_channels=2, kernel_number=2).double()
    x = torch.randn(2, 2, 4, 3, dtype=torch.float64, requires_grad=True)
    with torch.no_grad():
        _, angles = conv.routing(x)
        assert angles.abs().min() > 1e-3  # the slope jumps at 0
    parameters = list(conv.parameters())
    names = [name for name, _ in conv.named_parameters()]

    def run(x, *values):
        return torch.func.functional_call(conv, dict(zip(names, values)), (x,))

    assert torch.autograd.gradcheck(run, (x, *parameters), atol=1e-4)


@pytest.mark.parametrize('kind', KINDS)
def test_mixed_precision(kind):
    conv, x = make(kind), torch.randn(2, 6, 9, 8)
    expected = conv(x).detach()
    with torch.autocast('cpu', dtype=torch.bfloat16):
        y = conv(x)
    assert y.dtype == torch.bfloat16
    assert (y.float() - expected).abs().max() < 1e-2 * expected.abs().max()
    y = copy.deepcopy(conv).bfloat16()(x.bfloat16())
    assert y.dtype == torch.bfloat16
    assert (y.float() - expected).abs().max() < 3e-2 * expected.abs().max()


def test_decisions_stay_in_float32_under_autocast():
    conv, x = make(), torch.randn(2, 6, 9, 8)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        gates, angles = conv.routing(x)
    assert gates.dtype == angles.dtype == torch.float32


def test_dropout_draws_for_each_head_in_training_only():
    conv, x = make(dropout=0.5), torch.randn(1, 6, 9, 8)
    with torch.no_grad():
        assert torch.equal(conv(x), conv(x))
        conv.train()
        assert not torch.equal(conv(x), conv(x))


def test_initialisation():
    conv = AdaptiveRotatedConv2d(128, 128, 3, padding=1, bias=True)
    assert conv.weight.std().item() == pytest.approx(
        (2 / (4 * 128 * 9)) ** 0.5, rel=0.02
    )
    assert conv.bias.abs().max() == 0
    assert conv.routing.depthwise.weight.std().item() == pytest.approx(0.02, rel=0.1)
    assert 0 < conv.routing.gate.bias.abs().max() <= 128**-0.5


@pytest.mark.parametrize('mode', ['reflect', 'replicate', 'circular'])
def test_padding_modes(mode):
    conv, x = make(padding_mode=mode), torch.randn(1, 6, 9, 8)
    inner = make(padding=0)
    inner.load_state_dict(conv.state_dict())
    y = conv(x)
    assert y.shape == (1, 8, 9, 8)
    torch.testing.assert_close(y[..., 1:-1, 1:-1], inner(x))


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (dict(kernel_size=5), 'kernel_size=5'),
        (dict(kernel_size=1), 'kernel_size=1'),
        (dict(groups=4), 'groups=4'),
        (dict(kernel_number=0), 'kernel_number=0'),
        (dict(padding_mode='mirror'), "padding_mode='mirror'"),
    ],
)
def test_refuses(settings, message):
    with pytest.raises(ConfigError, match=message):
        make(**settings)
    with pytest.raises(ValueError, match=r'expected \(B, 6, H, W\)'):
        make()(torch.zeros(1, 5, 8, 8))


def test_in_conv_module():
    from mmcv.cnn import ConvModule

    for kind in ('AdaptiveRotatedConv2d', 'CondConv2d'):
        cfg = dict(type=f'dynnet.{kind}', kernel_number=2)
        module = ConvModule(4, 6, 3, padding=1, conv_cfg=cfg, norm_cfg=dict(type='BN'))
        assert MODELS.get(f'dynnet.{kind}') is type(module.conv)
        assert module(torch.randn(2, 4, 8, 8)).shape == (2, 6, 8, 8)


def test_trains_to_turn_with_its_input():
    """One kernel that follows its input's direction beats one that cannot."""
    angles = torch.tensor([-30.0, 30.0]) / 180 * torch.pi
    target_kernel = torch.randn(1, 1, 1, 3, 3)
    x = torch.randn(2, 1, 12, 12)
    x[1] += 3  # what tells the two samples apart
    kernels = rotate_and_mix(target_kernel, angles[:, None], torch.ones(2, 1))
    target = torch.cat([F.conv2d(s[None], k, padding=1) for s, k in zip(x, kernels)])
    plain = nn.Conv2d(1, 1, 3, padding=1, bias=False)
    # The normalisation over one channel forgets the input: give it two.
    wide = nn.Sequential(
        nn.Conv2d(1, 2, 1),
        AdaptiveRotatedConv2d(2, 1, 3, padding=1, kernel_number=2, dropout=0),
    )
    losses = []
    for model in (plain, wide):
        optimizer = torch.optim.Adam(model.parameters(), lr=0.03)
        for _ in range(150):
            optimizer.zero_grad()
            loss = F.mse_loss(model(x), target)
            loss.backward()
            optimizer.step()
        losses.append(loss.item())
    assert losses[1] < losses[0] / 2, losses
