"""MSDNet: exit widths and transitions of the published nets, and bad arguments."""

import pytest
import torch

from dynnet.models.backbones import MSDNet
from dynnet.models.backbones.msdnet import (
    MSDLayer,
    MSDTransition,
    block_depths,
    has_transition,
    scales_of_layer,
)
from dynnet.utils.errors import ConfigError

IMAGENET = dict(
    stem='imagenet',
    base_channels=32,
    growth_rate=16,
    growth_factor=(1, 2, 4, 4),
    bottleneck_factor=(1, 2, 4, 4),
)
# settings, size, layers, exit widths,
# transitions: after layer -> scales left, base width before and after
NETS = {
    'CIFAR nb5 lin': (
        dict(step_mode='lin_grow'),
        32,
        [1, 2, 3, 4, 5],
        [88, 136, 104, 200, 208],
        {6: (2, 52, 26), 11: (1, 56, 28)},
    ),
    'CIFAR nb7 lin': (
        dict(num_blocks=7, step_mode='lin_grow'),
        32,
        [1, 2, 3, 4, 5, 6, 7],
        [88, 136, 208, 304, 260, 200, 368],
        {11: (2, 82, 41), 21: (1, 101, 50)},
    ),
    'CIFAR nb7 even 2 base 4': (
        dict(num_blocks=7, base=4, step=2),
        32,
        [4, 2, 2, 2, 2, 2, 2],
        [160, 208, 140, 188, 236, 152, 200],
        {7: (2, 58, 29), 13: (1, 65, 32)},
    ),
    'ImageNet step 4': (
        dict(base=4, step=4, **IMAGENET),
        224,
        [4] * 5,
        [384, 384, 352, 304, 560],
        {6: (3, 128, 64), 11: (2, 144, 72), 16: (1, 152, 76)},
    ),
    'ImageNet step 7': (
        dict(base=7, step=7, **IMAGENET),
        224,
        [7] * 5,
        [576, 640, 608, 528, 976],
        {10: (3, 192, 96), 19: (2, 240, 120), 28: (1, 264, 132)},
    ),
}


@pytest.mark.parametrize('name', NETS)
def test_exit_widths_and_transitions(name):
    settings, size, depths, widths, expected = NETS[name]
    with torch.device('meta' if size > 32 else 'cpu'), torch.no_grad():  # shapes only
        net = MSDNet(**settings).eval()
        feats = net(torch.zeros(1, 3, size, size))
    assert net.exit_channels == tuple(widths)
    small = 8 if size == 32 else 7
    assert [tuple(feat.shape[1:]) for feat in feats] == [
        (width, small, small) for width in widths
    ]
    layer, found, counted = 0, {}, []
    for block in net.blocks:
        before = layer
        for module in block:
            if isinstance(module, MSDLayer):
                layer += 1
            elif isinstance(module, MSDTransition):
                out, into = module.m[-1].net[0].weight.shape[:2]
                factor = settings.get('growth_factor', (1, 2, 4))[-1]
                found[layer] = (len(module.m), into // factor, out // factor)
        counted.append(layer - before)
    assert counted == depths
    assert found == expected


def test_layer_zero_is_the_stem_and_a_transition_takes_an_index():
    with torch.device('meta'):
        net = MSDNet(step_mode='lin_grow')
    names = [[type(module).__name__ for module in block] for block in net.blocks]
    layer, change = 'MSDLayer', 'MSDTransition'
    assert names[0] == ['_Stem', layer]
    assert names[2] == [layer] * 3 + [change]
    assert names[4] == [layer, change] + [layer] * 4


def test_prune_max():
    scales = [scales_of_layer(layer, 15, 3, 'max') for layer in range(1, 16)]
    assert scales == [(3, 3)] * 5 + [(3, 2)] + [(2, 2)] * 4 + [(2, 1)] + [(1, 1)] * 4
    after = [n for n in range(1, 16) if has_transition(n, 15, 3, 'max')]
    assert after == [6, 11]


def test_prune_min():
    """All scales stay until the last layers; transitions after thirds of the depth."""
    scales = [scales_of_layer(layer, 10, 3, 'min') for layer in range(1, 11)]
    assert scales == [(3, 3)] * 8 + [(3, 2), (2, 1)]
    assert [n for n in range(1, 11) if has_transition(n, 10, 3, 'min')] == [3, 6]


def test_block_depths():
    assert block_depths(5, 1, 1, 'lin_grow') == [1, 2, 3, 4, 5]
    assert block_depths(4, 4, 2, 'even') == [4, 2, 2, 2]
    assert block_depths(3, 1, 2, 'lin_grow') == [1, 3, 5]


def test_split_of_a_layer():
    """The finest surviving scale splits its growth only if a finer one feeds it."""

    def shapes(layer):
        named = layer.named_parameters()
        return {n: tuple(p.shape[:2]) for n, p in named if p.ndim == 4}

    with torch.device('meta'):
        keeps = MSDLayer([16, 32], [6, 12], [1, 2])
        drops = MSDLayer([16, 32], [12], [1, 2])
    assert shapes(keeps) == {
        'layers.0.conv_normal.net.0.weight': (6, 16),
        'layers.0.conv_normal.net.3.weight': (6, 6),
        'layers.1.conv_down.net.0.weight': (6, 16),  # the factor of the finer scale
        'layers.1.conv_down.net.3.weight': (6, 6),
        'layers.1.conv_normal.net.0.weight': (12, 32),
        'layers.1.conv_normal.net.3.weight': (6, 12),
    }
    assert {n.replace('layers.0', 'layers.1'): s for n, s in shapes(drops).items()} == {
        n: s for n, s in shapes(keeps).items() if 'layers.1' in n
    }
    assert keeps.layers[1].conv_down.net[3].stride == (2, 2)


def test_without_bottleneck_and_without_reduction():
    plain = MSDNet(bottleneck=False, base_channels=4, growth_rate=2)
    assert {p.shape[2] for p in plain.parameters() if p.ndim == 4} == {1, 3}
    units = [n for n, _ in plain.named_parameters() if '.conv_normal.net.3' in n]
    assert not units
    wide = MSDNet(reduction=0, base_channels=4, growth_rate=2)
    assert not any(isinstance(m, MSDTransition) for m in wide.modules())
    assert wide.exit_channels == tuple(4 * (4 + 2 * i) for i in range(1, 6))


def test_other_channels_and_sizes():
    net = MSDNet(base_channels=4, growth_rate=2, in_channels=1).eval()
    for size in ((28, 28), (40, 24)):
        x = torch.randn(2, 1, *size)
        with torch.no_grad():
            folded = net(x)
        for a, b in zip(folded, net(x)):
            torch.testing.assert_close(a, b.detach(), rtol=1e-3, atol=1e-4)


def test_a_cut_net_leaves_the_scales_out_that_its_exit_does_not_read():
    with torch.device('meta'):
        cut = MSDNet(step_mode='lin_grow', exit_index=1)  # layers 1; 2, 3
    layers = [m for m in cut.modules() if isinstance(m, MSDLayer)]
    assert [layer.idle for layer in layers] == [0, 1, 2]
    names = {n.rsplit('.net', 1)[0] for n, _ in layers[-1].named_parameters()}
    assert names == {'layers.2.conv_down', 'layers.2.conv_normal'}


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (dict(growth_factor=(1, 2)), r'one value per scale, got \(1, 2\) and'),
        (dict(growth_factor=(), bottleneck_factor=()), 'one value per scale'),
        (
            dict(growth_factor=(1, 1, 2), growth_rate=3),
            'growth_rate=3: .* must be even',
        ),
        (dict(prune='mid'), "prune='mid': choose 'max' or 'min'"),
        (dict(prune='min', num_blocks=2), '2 layers cannot drop 3 scales'),
        (dict(step_mode='lg'), "step_mode='lg': choose 'even' or 'lin_grow'"),
        (dict(stem='mnist'), "stem='mnist': choose"),
        (dict(num_blocks=0), 'num_blocks=0'),
        (dict(base=0), 'base=0'),
        (dict(step=0), 'step=0'),
        (dict(exit_index=5), 'exit_index=5: the net has exits 0 to 4'),
        (dict(exit_index=-1), 'exit_index=-1'),
        (dict(reduction=0.01), 'no output channel'),
    ],
)
def test_bad_arguments(settings, message):
    with torch.device('meta'), pytest.raises(ConfigError, match=message):
        MSDNet(**settings)
