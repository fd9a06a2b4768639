"""Swapping convolutions of any model."""

import pytest
import torch
from torch import nn

from dynnet.models.layers import AdaptiveRotatedConv2d, convert_conv
from dynnet.utils.errors import ConfigError


def make() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, 2, 1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Sequential(nn.Conv2d(8, 8, 1), nn.Conv2d(8, 8, 3, padding=2, dilation=2)),
        nn.Conv2d(8, 4, 3, padding=1, groups=4, bias=False),
    )


@pytest.mark.parametrize('number', [1, 3, 4])
def test_computes_what_it_did(number):
    model, x = make().eval(), torch.randn(2, 3, 16, 16)
    expected = model(x)
    names = convert_conv(model, '*', kernel_number=number)
    assert names == ['0', '3.1', '4']
    assert all(type(model.get_submodule(n)) is AdaptiveRotatedConv2d for n in names)
    assert not model[0].training
    torch.testing.assert_close(model(x), expected, rtol=1e-5, atol=1e-5)


def second_gradients(noise: float) -> torch.Tensor:
    """Of the kernels after one step, which makes the routing differ."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1))
    convert_conv(model, '0', kernel_number=4, noise=noise)
    model.eval()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        model(torch.randn(4, 3, 16, 16)).square().mean().backward()
        gradient = model[0].weight.grad.clone()
        optimizer.step()
    assert model[0].routing.angle.weight.abs().max() > 0
    return gradient


def spread(gradient: torch.Tensor) -> float:
    """Least difference of two kernels' gradients, relative to the largest entry."""
    gaps = [(a - b).abs().max() for i, a in enumerate(gradient) for b in gradient[:i]]
    return float(min(gaps) / gradient.abs().max())


def test_kernels_diverge_after_one_step():
    assert spread(second_gradients(noise=0.1)) > 1e-5


def test_equal_kernels_would_not():
    """Copies have the same gradient for ever: why the kernels start different."""
    assert spread(second_gradients(noise=0)) < 1e-8


def test_chooses_by_name_and_starts_anew():
    model = make()
    model[3][1].weight.requires_grad_(False)
    convert_conv(model, ['3.*'], kernel_number=2, keep_weights=False, dropout=0.0)
    assert type(model[0]) is nn.Conv2d and type(model[3][0]) is nn.Conv2d
    conv = model[3][1]
    assert conv.kernel_number == 2 and conv.routing.gate_dropout.p == 0
    assert not any(p.requires_grad for p in conv.parameters())


@pytest.mark.parametrize(
    ('pattern', 'message'),
    [('3.0', r'size \(1, 1\)'), ('head.*', "'head.*' matches no"), ('1', 'matches no')],
)
def test_refuses(pattern, message):
    with pytest.raises(ConfigError, match=message):
        convert_conv(make(), pattern)


def test_shared_convolution_stays_shared():
    conv = nn.Conv2d(4, 4, 3, padding=1)
    model = nn.ModuleDict(dict(a=conv, b=nn.Sequential(conv)))
    convert_conv(model, 'a')
    assert model['a'] is not conv
