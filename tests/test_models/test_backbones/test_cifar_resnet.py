"""The 6n+2 ResNets: size as published, shortcut by hand."""

import pytest
import torch

pytest.importorskip('mmpretrain')

from dynnet.models.backbones.cifar_resnet import PaddedShortcut
from dynnet.registry import MODELS
from dynnet.utils.errors import ConfigError


def build(**settings):
    return MODELS.build(dict(type='dynnet.CIFARResNet', **settings))


@pytest.mark.parametrize(
    ('depth', 'published'), [(20, 0.27), (32, 0.46), (44, 0.66), (56, 0.85), (110, 1.7)]
)
def test_depth_and_parameters(depth, published):
    net = build(depth=depth)
    (out,) = net(torch.zeros(2, 3, 32, 32))
    convs = [m for m in net.modules() if isinstance(m, torch.nn.Conv2d)]
    assert len(convs) == depth - 1  # and the linear layer behind them
    assert out.shape == (2, 64, 8, 8)
    parameters = sum(p.numel() for p in net.parameters()) + 64 * 10 + 10
    digits = 1 if depth == 110 else 2
    assert round(parameters / 1e6, digits) == published


def test_padded_shortcut():
    x = torch.rand(2, 3, 6, 6)
    y = PaddedShortcut(2, 3)(x)
    assert y.shape == (2, 6, 3, 3)
    assert torch.equal(y[:, 1:4], x[:, :, ::2, ::2])
    assert (y[:, 0] == 0).all() and (y[:, 4:] == 0).all()


def test_shortcut_by_convolution_and_width():
    net = build(depth=20, shortcut='conv', base_channels=8)
    assert net.layer2[0].downsample[0].kernel_size == (1, 1)
    (out,) = net(torch.rand(1, 3, 32, 32))
    assert out.shape == (1, 32, 8, 8)


def test_stages_can_be_frozen():
    net = build(depth=20, frozen_stages=1)
    net.train()
    assert not net.layer1[0].conv1.weight.requires_grad
    assert net.layer2[0].conv1.weight.requires_grad


def test_bad_settings_are_named():
    with pytest.raises(ConfigError, match='depth=18: choose from 20, 32, 44, 56, 110'):
        build(depth=18)
    with pytest.raises(ConfigError, match="shortcut='A'"):
        build(depth=20, shortcut='A')
