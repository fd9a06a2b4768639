"""Exits on any stage-wise backbone of mmpretrain."""

import pytest
import torch

pytest.importorskip('mmpretrain')

from mmengine.registry import DefaultScope

from dynnet.registry import MODELS
from dynnet.utils.errors import ConfigError

SMALL = dict(base_channels=4, stem_channels=4, out_indices=(0, 1, 2, 3))
NETS = {
    'ResNet': dict(type='ResNet', depth=18, **SMALL),
    'ResNetV1d': dict(type='ResNetV1d', depth=50, **SMALL),
    'SEResNet': dict(type='mmpretrain.SEResNet', depth=50, **SMALL),
    'ResNet_CIFAR': dict(type='ResNet_CIFAR', depth=18, **SMALL),
    'RegNet': dict(type='RegNet', arch='regnetx_400mf', out_indices=(1, 3)),
    'MobileNetV2': dict(type='MobileNetV2', widen_factor=0.1, out_indices=(2, 4, 7)),
    'VGG': dict(type='VGG', depth=11, norm_cfg=dict(type='BN'), out_indices=(1, 4)),
    'DenseNet': dict(
        type='DenseNet',
        arch=dict(growth_rate=4, depths=[2, 2, 2, 2], init_channels=8),
        out_indices=(0, 1, 2, 3),
    ),
}
CONVNEXT = dict(
    type='ConvNeXt',
    arch=dict(depths=[1, 1, 1, 1], channels=[4, 8, 8, 8]),
    out_indices=(0, 1, 2, 3),
)


def build(backbone, **settings):
    torch.manual_seed(0)
    cfg = dict(type='dynnet.StagedBackbone', backbone=backbone, **settings)
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        return MODELS.build(cfg)


@pytest.mark.parametrize('name', NETS)
def test_exits_are_the_stages_outputs(name):
    net = build(NETS[name])
    assert net.training and net.backbone.training
    net.eval()
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        expected = net.backbone(x)
        feats = net(x)
        subset = net.select(net.step(net.init_state(x))[1], torch.tensor([1]))
        second = net.step(subset)[0]
    assert len(feats) == net.num_exits == len(NETS[name]['out_indices'])
    assert all(map(torch.equal, feats, expected))
    assert net.exit_channels == tuple(feat.size(1) for feat in feats)
    torch.testing.assert_close(second, feats[1][1:], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('name', ['MobileNetV2', 'VGG', 'DenseNet'])
def test_cut(name):
    full = build(NETS[name]).eval()
    cut = build(NETS[name], exit_index=0).eval()
    cut.load_state_dict({n: full.state_dict()[n] for n in cut.state_dict()})
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        (feat,) = cut(x)
        assert torch.equal(feat, full(x)[0])
    assert len(cut.state_dict()) < len(full.state_dict()) / 2
    assert cut.num_exits == 1


def test_stages_by_name():
    stages = [
        ['conv1', 'norm1', 'relu', 'maxpool', 'layer1.0', 'layer1.1', 'layer2'],
        ['layer3', 'layer4'],
    ]
    net = build(dict(NETS['ResNet'], out_indices=(1, 3)), stages=stages)
    assert net.num_exits == 2
    assert net.exit_channels == (8, 32)


def test_a_family_that_is_not_known():
    with pytest.raises(ConfigError, match='stages of ConvNeXt are not known: give'):
        build(CONVNEXT)


@pytest.mark.parametrize(
    'stages',
    [
        [['stem'], ['layer1']],
        [
            ['conv1', 'norm1', 'relu', 'maxpool', 'layer1'],
            ['layer2'],
            ['layer4'],
            ['layer3'],
        ],
        [['conv1', 'norm1', 'maxpool', 'layer1'], ['layer2'], ['layer3'], ['layer4']],
        [['conv1', 'norm1', 'relu', 'maxpool', 'layer1'], ['layer2']],
    ],
    ids=['no such module', 'wrong order', 'relu forgotten', 'too few'],
)
def test_wrong_stages(stages):
    with pytest.raises(ConfigError, match='stages='):
        build(NETS['ResNet'], stages=stages)


def test_exit_index_out_of_range():
    with pytest.raises(ConfigError, match='exit_index=4: the net has exits 0 to 3'):
        build(NETS['ResNet'], exit_index=4)
