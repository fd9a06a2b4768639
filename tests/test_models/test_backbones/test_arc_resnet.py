"""ARC-ResNet: counts, what is replaced, freezing, training."""

import pytest
import torch

pytest.importorskip('mmpretrain')

from mmengine.registry import DefaultScope

import dynnet  # noqa: F401
from dynnet.models.layers import AdaptiveRotatedConv2d
from dynnet.registry import MODELS
from dynnet.utils.cost import count_forward
from dynnet.utils.errors import ConfigError

TINY = dict(stem_channels=8, base_channels=8)


def build(**kwargs):
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        return MODELS.build(dict(type='dynnet.ARCResNet', **kwargs))


def replaced(net) -> list[str]:
    return [n for n, m in net.named_modules() if isinstance(m, AdaptiveRotatedConv2d)]


# Depth, kernels (0: a plain ResNet), parameters, trainable ones, keys, GMACs at 512.
COUNTS = [
    (50, 0, 23_508_032, 23_282_688, 318, 21.353),
    (50, 1, 23_554_637, 23_329_293, 396, 21.515),
    (50, 4, 57_196_148, 56_970_804, 396, 21.818),
    (101, 4, 106_352_056, 106_126_712, 804, 41.614),
]


@pytest.mark.parametrize(
    ('depth', 'number', 'total', 'trained', 'keys', 'gmacs'), COUNTS
)
def test_published_counts(depth, number, total, trained, keys, gmacs):
    kernels = dict(kernel_number=number) if number else dict(replace=())
    net = build(depth=depth, frozen_stages=1, norm_eval=True, **kernels).to('meta')
    parameters = list(net.parameters())
    assert sum(p.numel() for p in parameters) == total
    assert sum(p.numel() for p in parameters if p.requires_grad) == trained
    assert len(net.state_dict()) == keys
    macs, _, uncounted = count_forward(net, (3, 512, 512))
    assert uncounted == []
    assert f'{macs / 1e9:.3f}' == f'{gmacs:.3f}'


def test_replaces_what_is_asked_for():
    assert len(replaced(build(depth=50, **TINY))) == 13
    published = build(depth=50, replace=[['x'], ['1'], ['0', '5'], ['2']], **TINY)
    ours = build(depth=50, replace=('none', 1, [0, 5], [2]), **TINY)
    names = ['layer2.1.conv2', 'layer3.0.conv2', 'layer3.5.conv2', 'layer4.2.conv2']
    assert replaced(published) == replaced(ours) == names
    assert ours.layer3[0].conv2.stride == (2, 2)


def test_basic_blocks():
    net = build(depth=18, replace=('none', 'none', 'none', 'all'), **TINY)
    assert replaced(net) == ['layer4.0.conv2', 'layer4.1.conv2']
    both = build(
        depth=34,
        replace=('none', [0]),
        convs=('conv1', 'conv2'),
        out_indices=(1,),
        **TINY,
    )
    assert replaced(both) == ['layer2.0.conv1', 'layer2.0.conv2']
    (y,) = both.eval()(torch.randn(1, 3, 32, 32))
    assert y.shape == (1, 16, 4, 4)


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (dict(replace=[['x'], [4]]), 'stage 2 has no block 4, only 0 to 3'),
        (dict(replace=[[-1]]), 'stage 1 has no block -1'),
        (dict(replace=[['one']]), "'one' of stage 1 is no index"),
        (dict(replace='all'), 'one entry for each stage'),
        (dict(replace=[[]] * 5), 'one entry for each stage'),
        (dict(convs='conv1'), "no 3x3 convolution 'conv1'"),
        (dict(depth=20), 'depth=20: choose from'),
    ],
)
def test_refuses(settings, message):
    with pytest.raises(ConfigError, match=message):
        build(**{**TINY, 'depth': 50, **settings})


def test_frozen_stages_freeze_their_kernels_and_routing():
    net = build(depth=50, frozen_stages=2, norm_eval=True, **TINY).train()
    second, third = net.layer2[1].conv2, net.layer3[1].conv2
    assert not any(p.requires_grad for p in second.parameters())
    assert not second.routing.gate_dropout.training
    assert all(p.requires_grad for p in third.parameters())
    assert third.routing.gate_dropout.training  # norm_eval concerns BN alone
    assert not net.layer3[1].bn2.training
    assert net.eval() is net


def test_checkpointing_gives_the_same_gradients():
    """Dropout is repeated when activations are computed again."""
    gradients = []
    for with_cp in (False, True):
        net = build(depth=50, with_cp=with_cp, norm_eval=True, **TINY).train()
        net.init_weights()
        x = torch.randn(2, 3, 32, 32, requires_grad=True)
        torch.manual_seed(1)
        net(x)[-1].square().sum().backward()
        gradients.append([p.grad for p in net.parameters()])
    assert all(g is not None for g in gradients[0])
    for plain, again in zip(*gradients):
        torch.testing.assert_close(plain, again)


def test_initialisation_keeps_the_kernels_own():
    net = build(depth=50, replace=('none', [1]), base_channels=64)
    net.init_weights()
    conv = net.layer2[1].conv2
    assert conv.weight.std().item() == pytest.approx(
        (2 / (4 * 128 * 9)) ** 0.5, rel=0.05
    )
    # As published: the rule for plain convolutions takes the depthwise one too.
    fan_out = (2 / (9 * 128)) ** 0.5
    assert conv.routing.depthwise.weight.std().item() == pytest.approx(fan_out, rel=0.1)
    assert net.layer1[0].bn3.weight.abs().max() == 0


def test_empty_batch():
    net = build(depth=50, replace=('none', 'none', 'none', 'all'), **TINY).eval()
    assert net(torch.zeros(0, 3, 64, 64))[-1].shape == (0, 256, 2, 2)
