"""RANet: the block plans of the published configurations, and bad arguments."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from dynnet.models.backbones import RANet
from dynnet.models.backbones.ranet import RANetBlock, resize_to
from dynnet.utils.errors import ConfigError

S1233 = dict(
    growth_factor=(4, 2, 1, 1),
    bottleneck_factor=(4, 2, 1, 1),
    scale_list=(1, 2, 3, 3),
)
IN_N64 = dict(
    stem='imagenet',
    step=8,
    base_channels=64,
    growth_rate=16,
    growth_factor=(4, 2, 2, 1),
    bottleneck_factor=(4, 2, 2, 1),
    scale_list=(1, 2, 3, 4),
)
# Per sub-network, what leaves every block: channels @ size, then r for a reduction, d
# for a stride, and the number of the exit.
FIRST_THREE = [
    '160@8 1, 256@8 2',
    '100@16, 92@8 rd, 140@8 3, 188@8 4',
    '50@32, 46@16 rd, 87@16, 69@8 rd, 93@8 5, 117@8 6',
]
PLANS = {
    '1-2-3 even 4': (dict(), 32, FIRST_THREE),
    '1-2-3 lg 2': (
        dict(step=2, step_mode='lg'),
        32,
        [
            '112@8 1, 208@8 2',
            '70@16, 73@8 rd, 145@8 3, 241@8 4',
            '35@32, 36@16 rd, 90@16, 86@8 rd, 146@8 5, 218@8 6',
        ],
    ),
    '1-2-3-3 even 4': (
        S1233,
        32,
        [
            *FIRST_THREE,
            '50@32, 46@32 r, 87@32, 138@16 d, 101@16 r, 156@8 d, 180@8 7, 204@8 8',
        ],
    ),
    'ImageNet n64 even 8': (
        IN_N64,
        224,
        [
            '768@7 1, 1280@7 2',
            '480@14, 460@7 rd, 716@7 3, 972@7 4',
            '480@28, 460@14 rd, 895@14, 719@7 rd, 975@7 5, 1231@7 6',
            '240@56, 230@28 rd, 447@28, 359@14 rd, 608@14, 460@7 rd, 588@7 7, 716@7 8',
        ],
    ),
}
STEMS = {
    '1-2-3 even 4': ['64@8', '32@16', '16@32'],
    '1-2-3 lg 2': ['64@8', '32@16', '16@32'],
    '1-2-3-3 even 4': ['64@8', '32@16', '16@32', '16@32'],
    'ImageNet n64 even 8': ['256@7', '128@14', '128@28', '64@56'],
}


def label(shape):
    return f'{shape[1]}@{shape[2]}'


@pytest.mark.parametrize('name', PLANS)
def test_block_plan(name):
    settings, size, expected = PLANS[name]
    with torch.device('meta' if size > 32 else 'cpu'):  # shapes only
        net = RANet(**settings).eval()
        x = torch.zeros(1, 3, size, size)
    after = {}

    def note(block, inputs, outputs):
        after[block] = label(outputs[0].prefix().shape)

    for flow in net.scale_flows:
        for block in flow:
            block.register_forward_hook(note)
    with torch.no_grad():
        feats = iter(net(x))
        stem = net.FirstLayer(x)
    plan, exits = [], 0
    for flow in net.scale_flows:
        line = []
        for block in flow:
            flags = 'r' * (block.trans is not None) + 'd' * block.down
            text = f'{after[block]} {flags}'.strip()
            if block.conv_last is None:
                exits += 1
                text += f' {exits}'
                assert label(next(feats).shape) == after[block]
            line.append(text)
        plan.append(', '.join(line))
    assert plan == expected
    assert net.num_exits == exits
    assert [label(x.shape) for x in stem] == STEMS[name]


def test_layers_per_block():
    def layers(**settings):
        with torch.device('meta'):
            net = RANet(**settings)
        return [[len(block.layers) for block in flow] for flow in net.scale_flows]

    assert layers() == [[4] * 2, [4] * 4, [4] * 6]
    lg = layers(step=2, step_mode='lg')
    assert lg == [[2, 4], [2, 4, 6, 8], [2, 4, 6, 8, 10, 12]]


def test_split_of_a_fusion_layer():
    """With g = 24 and 1/4 taken from below: 18 + 6, inner widths by piece and net."""
    with torch.device('meta'):
        block = RANetBlock(
            40,
            num_layers=2,
            growth=24,
            factor=2,
            reduce=True,
            reduction=0.5,
            lower_widths=[64, 112, 160],
            lower_factor=4,
            down=True,
        )
    shapes = {n: tuple(p.shape) for n, p in block.named_parameters() if p.ndim == 4}
    assert shapes == {
        'layers.0.conv_up.net.0.weight': (24, 64, 1, 1),
        'layers.0.conv_up.net.3.weight': (6, 24, 3, 3),
        'layers.0.conv_normal.net.0.weight': (36, 40, 1, 1),
        'layers.0.conv_normal.net.3.weight': (18, 36, 3, 3),
        'layers.1.conv_up.net.0.weight': (24, 112, 1, 1),
        'layers.1.conv_up.net.3.weight': (6, 24, 3, 3),
        'layers.1.conv_normal.net.0.weight': (36, 64, 1, 1),
        'layers.1.conv_normal.net.3.weight': (18, 36, 3, 3),
        'conv_last.net.0.weight': (22, 160, 1, 1),
        'trans.net.0.weight': (55, 110, 1, 1),
    }
    strides = [layer.conv_normal.net[3].stride for layer in block.layers]
    assert strides == [(1, 1), (2, 2)]
    assert block.widths == [40, 64, 88] and block.out_channels == 55


def test_initialisation():
    torch.manual_seed(0)
    net = RANet()
    weight = net.scale_flows[2][5].layers[3].conv_normal.net[3].weight
    assert float(weight.std()) == pytest.approx(
        (2 / (9 * weight.size(0))) ** 0.5, rel=0.1
    )
    stem = net.FirstLayer.layers[1].net[0].weight  # PyTorch's default
    bound = (9 * stem.size(1)) ** -0.5
    assert 0.95 * bound < stem.abs().max() <= bound


def test_resize():
    x, like = torch.randn(2, 3, 8, 8), torch.empty(2, 5, 4, 4)
    assert resize_to(x, x) is x
    expected = F.interpolate(x, (4, 4), mode='bilinear', align_corners=True)
    assert torch.equal(resize_to(x, like), expected)
    assert torch.equal(expected[..., ::3, ::3], x[..., ::7, ::7])


def test_other_channels_and_sizes():
    net = RANet(base_channels=4, growth_rate=4, step=2, in_channels=1).eval()
    for size in ((28, 28), (40, 24), (19, 33)):
        x = torch.randn(2, 1, *size)
        with torch.no_grad():
            folded = net(x)
        for a, b in zip(folded, net(x)):
            torch.testing.assert_close(a, b.detach(), rtol=1e-3, atol=1e-4)


def test_one_sub_network_is_a_plain_dense_net():
    net = RANet(growth_factor=(1,), bottleneck_factor=(1,), scale_list=(1,), step=2)
    assert net.num_exits == 2
    assert net.exit_channels == (16 + 12, 16 + 24)
    assert not [n for n, _ in net.named_parameters() if 'conv_up' in n]
    assert isinstance(net.scale_flows[0], nn.ModuleList)


def scales(*values):
    ones = (1,) * len(values)
    return dict(scale_list=values, growth_factor=ones, bottleneck_factor=ones)


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (scales(2, 3), r'scale_list=\[2, 3\]'),
        (scales(1, 1, 2), r'scale_list=\[1, 1, 2\]'),
        (scales(1, 3), r'scale_list=\[1, 3\]'),
        (scales(1, 2, 1), r'scale_list=\[1, 2, 1\]'),
        (scales(), r'scale_list=\[\]'),
        (dict(growth_factor=(4, 2)), r'one value per sub-network, got \(4, 2\)'),
        (dict(bottleneck_factor=(4, 2)), 'one value per sub-network'),
        (dict(scale_list=(1, 2)), 'one value per sub-network'),
        (dict(step=1), 'step=1: a block needs at least 2 layers'),
        (dict(step_mode='lin_grow'), "step_mode='lin_grow': choose 'even' or 'lg'"),
        (dict(stem='cifar10'), "stem='cifar10': choose"),
        (dict(num_blocks=0), 'num_blocks=0'),
        (dict(block_step=0), 'block_step=0'),
        (dict(exit_index=6), 'exit_index=6: the net has exits 0 to 5'),
        (dict(exit_index=-1), 'exit_index=-1'),
        (dict(growth_rate=2), 'no output channel: growth, compress_factor'),
        (dict(compress_factor=1), 'no output channel'),
        (dict(reduction=0), 'no output channel'),
    ],
)
def test_bad_arguments(settings, message):
    with torch.device('meta'), pytest.raises(ConfigError, match=message):
        RANet(**settings)
