"""Exit classifiers: the published layout, and sizes that it did not take."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from dynnet.models.heads import ConvExit, LinearExit
from dynnet.utils.errors import ConfigError


def settled(branch):
    torch.manual_seed(0)
    for module in branch.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
    return branch.eval()


@pytest.mark.parametrize('size', [8, 7])
def test_conv_exit_is_the_published_classifier(size):
    """Two convolutions, average pooling over 2x2, linear."""
    branch = settled(ConvExit(6, 5, channels=8))
    x = torch.randn(3, 6, size, size)
    y = branch.m[1].net(branch.m[0].net(x))
    assert y.shape == (3, 8, 2, 2)
    expected = branch.linear(F.avg_pool2d(y, 2).flatten(1)).detach()
    for grad in (True, False):
        with torch.set_grad_enabled(grad):
            torch.testing.assert_close(branch(x).detach(), expected)


def test_conv_exit_takes_other_sizes():
    branch = settled(ConvExit(6, 5, channels=8))
    for size in ((1, 1), (4, 4), (5, 9), (16, 16)):
        with torch.no_grad():
            assert branch(torch.randn(2, 6, *size)).shape == (2, 5)


def test_conv_exit_layout():
    shapes = {n: tuple(p.shape) for n, p in ConvExit(6, 5).named_parameters()}
    assert shapes['m.0.net.0.weight'] == (128, 6, 3, 3)
    assert shapes['m.1.net.0.weight'] == (128, 128, 3, 3)
    assert shapes['linear.weight'] == (5, 128)
    assert {n.split('.net')[0] for n in shapes} == {
        'm.0',
        'm.1',
        'linear.weight',
        'linear.bias',
    }
    assert ConvExit(6, 5, channels=None).linear.in_features == 6


def test_conv_exit_initialisation():
    torch.manual_seed(0)
    he, default = ConvExit(64, 10, init='he'), ConvExit(64, 10)
    weight = he.m[0].net[0].weight.detach()
    assert float(weight.std()) == pytest.approx((2 / (9 * 128)) ** 0.5, rel=0.05)
    assert he.linear.bias.abs().max() == 0
    bound = (9 * 64) ** -0.5
    largest = float(default.m[0].net[0].weight.detach().abs().max())
    assert largest == pytest.approx(bound, rel=0.01)
    assert default.linear.bias.abs().max() > 0
    with pytest.raises(ConfigError, match="init='xavier': choose 'torch' or 'he'"):
        ConvExit(6, 5, init='xavier')


def test_linear_exit():
    branch, x = LinearExit(6, 5), torch.randn(3, 6, 4, 7)
    expected = x.mean((2, 3)) @ branch.linear.weight.t() + branch.linear.bias
    torch.testing.assert_close(branch(x), expected)
