"""LASNet's converter: layouts, strictness, dense starts."""

import importlib.util
from pathlib import Path

import pytest
import torch

pytest.importorskip('mmpretrain')

from mmengine.config import Config
from mmengine.registry import DefaultScope

from dynnet.registry import MODELS
from dynnet.utils.checkpoint import load_weights
from dynnet.utils.errors import CheckpointError
from dynnet.utils.lasnet_conversion import lasnet_keys

PATH = Path(__file__).parents[2] / 'tools/model_converters/lasnet_to_dynnet.py'
MODEL = dict(
    type='dynnet.GatedClassifier',
    backbone=dict(type='dynnet.LASResNet', depth=50, stem_channels=8, base_channels=8),
    neck=dict(type='mmpretrain.GlobalAveragePooling'),
    head=dict(type='mmpretrain.LinearClsHead', num_classes=4, in_channels=256),
)


@pytest.fixture(scope='module')
def tool():
    spec = importlib.util.spec_from_file_location('lasnet_to_dynnet', PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def published(tmp_path):
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        state = MODELS.build(MODEL).state_dict()
    names = {
        name.removeprefix('backbone.')
        .replace('head.fc.', 'fc.')
        .replace('gate.conv.', 'masker.conv2.'): value
        for name, value in state.items()
    }
    config = tmp_path / 'config.py'
    Config(dict(model=MODEL, default_scope='mmpretrain')).dump(config)
    return names, state, config, tmp_path


def test_converts_and_loads(tool, published, capsys):
    names, state, config, folder = published
    torch.save(dict(state_dict=names, epoch=3), folder / 'in.pth')
    argv = [str(folder / 'in.pth'), str(folder / 'out.pth'), '--config', str(config)]
    tool.main(argv)
    assert 'not converted: epoch' in capsys.readouterr().out
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        net = MODELS.build(MODEL)
    load_weights(net, folder / 'out.pth')
    assert all(torch.equal(v, state[k]) for k, v in net.state_dict().items())


def test_dense_start_lacks_the_gates_and_nothing_else(tool, published):
    names, state, config, folder = published
    dense = {k: v for k, v in names.items() if 'masker' not in k}
    argv = [str(folder / 'in.pth'), str(folder / 'out.pth'), '--config', str(config)]
    torch.save(dense, folder / 'in.pth')
    tool.main([*argv, '--dense'])
    out = torch.load(folder / 'out.pth', weights_only=True)['state_dict']
    assert set(state) - set(out) == {k for k in state if '.gate.' in k}
    with pytest.raises(CheckpointError, match='missing backbone.layer1.0.gate'):
        tool.main(argv)
    del dense['layer3.2.bn1.weight']
    torch.save(dense, folder / 'in.pth')
    with pytest.raises(CheckpointError, match='missing backbone.layer3.2.bn1.weight'):
        tool.main([*argv, '--dense'])


def test_a_config_with_a_teacher_converts_without_its_weights(tool, published):
    names, _, config, folder = published
    teacher = dict(type='mmpretrain.ImageClassifier', backbone=dict(type='X'))
    cfg = Config.fromfile(config)
    cfg.model.distillation = dict(teacher=teacher, checkpoint='missing.pth')
    cfg.dump(config)
    torch.save(names, folder / 'in.pth')
    tool.main([str(folder / 'in.pth'), str(folder / 'o.pth'), '--config', str(config)])
    assert (folder / 'o.pth').is_file()


@pytest.mark.parametrize(
    'published, ours',
    [
        (
            'module.layer1.0.masker_spatial.conv.bias',
            'backbone.layer1.0.gate.conv.bias',
        ),
        ('fc.weight', 'head.fc.weight'),
        (
            'trunk_output.block2.block2-10.f.se.fc1.bias',
            'backbone.layer2.10.se.conv1.conv.bias',
        ),
        (
            'trunk_output.block1.block1-0.f.masker_spatial.conv.weight',
            'backbone.layer1.0.gate.conv.weight',
        ),
        (
            'trunk_output.block1.block1-0.proj.1.bias',
            'backbone.layer1.0.downsample.1.bias',
        ),
        ('stem.1.running_var', 'backbone.bn1.running_var'),
    ],
)
def test_names(published, ours):
    assert list(lasnet_keys({published: torch.zeros(1)})) == [ours]


def test_detectors_keep_the_names_of_their_heads():
    names = ['backbone.layer1.0.masker.conv2.bias', 'neck.fpn_convs.0.conv.weight']
    renamed = lasnet_keys(dict.fromkeys(names, torch.zeros(1)))
    assert list(renamed) == ['backbone.layer1.0.gate.conv.bias', names[1]]


def test_refuses_channel_gates():
    with pytest.raises(CheckpointError, match='channel gates are not supported'):
        lasnet_keys({'layer1.0.masker_channel.conv.weight': torch.zeros(1)})
