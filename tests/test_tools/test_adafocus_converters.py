"""Published AdaFocus files and an ImageNet MobileNetV2, by the command line."""

import importlib.util
import re
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision

from dynnet.utils.adafocus_conversion import (
    focuser_keys,
    imagenet_mobilenet_state,
    mobilenet_keys,
    tsm_keys,
)
from dynnet.utils.checkpoint import load_checkpoint
from dynnet.utils.errors import CheckpointError
from dynnet.utils.optional import is_available, require

if not is_available('mmaction'):
    pytest.skip('mmaction2 is not installed', allow_module_level=True)

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / 'configs/adafocus/adafocus-r50-stage1-p128_1xb64-50e_activitynet.py'


def load_tool(name: str):
    path = ROOT / 'tools/model_converters' / f'{name}.py'
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope='module')
def mobilenet():
    torch.manual_seed(0)
    net = torchvision.models.mobilenet_v2(num_classes=200)
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    return net.eval()


@pytest.fixture(scope='module')
def mm_mobilenet():
    require('mmaction')
    from mmaction.models.backbones import MobileNetV2

    net = MobileNetV2()
    net.eval()
    return net


@torch.inference_mode()
def features(net, x=None):
    x = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    return net(x)


def test_torchvisions_names_are_mapped(mobilenet, mm_mobilenet):
    state = mobilenet.state_dict()
    renamed = mobilenet_keys({k: v for k, v in state.items() if 'features' in k})
    mm_mobilenet.load_state_dict(renamed)
    expected = features(mobilenet.features)
    torch.testing.assert_close(features(mm_mobilenet), expected)


def test_other_names_are_mapped_in_order(mobilenet, mm_mobilenet):
    source = {
        f'layer.{i}.{name.rpartition(".")[2]}': value
        for i, (name, value) in enumerate(mobilenet.features.state_dict().items())
        if 'num_batches' not in name
    }
    assert len(source) == 260
    expected = mm_mobilenet.state_dict()
    mm_mobilenet.load_state_dict(imagenet_mobilenet_state(source, expected))
    torch.testing.assert_close(features(mm_mobilenet), features(mobilenet.features))
    swapped = dict(zip(source, reversed(source.values())))
    with pytest.raises(CheckpointError, match='stands where conv1.conv.weight'):
        imagenet_mobilenet_state(swapped, expected, 'x.pt')
    source.popitem()
    with pytest.raises(CheckpointError, match='x.pt: 259 tensors'):
        imagenet_mobilenet_state(source, expected, 'x.pt')


def test_imagenet_tool_writes_both_encoders(mobilenet, tmp_path, capsys):
    torch.save(mobilenet.features.state_dict(), tmp_path / 'a.pt')
    tool = load_tool('imagenet_mobilenet_to_dynnet')
    tool.main(
        [str(tmp_path / 'a.pt'), '--out', str(tmp_path / 'b.pth')]
        + ['--parts', 'global_backbone', 'backbone']
    )
    state = load_checkpoint(tmp_path / 'b.pth')['state_dict']
    stem = mobilenet.features[0][0].weight
    for part in ('global_backbone', 'backbone'):
        assert state[f'{part}.conv1.conv.weight'].equal(stem)
    assert not any(value.is_meta for value in state.values())
    assert f'{len(state)} tensors' in capsys.readouterr().out


@pytest.fixture(scope='module')
def stage0(mobilenet, tmp_path_factory):
    """The two published files of stage 0."""
    folder = tmp_path_factory.mktemp('published')
    torch.manual_seed(0)
    resnet = torchvision.models.resnet50(num_classes=200)
    files = []
    for entry, net in (('glancer', mobilenet), ('focuser', resnet)):
        state = {f'module.net.{k}': v for k, v in net.state_dict().items()}
        content = {entry: state, 'best_acc': np.float64(70.5), 'epoch': 15}
        torch.save(content, folder / f'{entry}.pth.tar')
        files.append(str(folder / f'{entry}.pth.tar'))
    return files, mobilenet, resnet


def test_the_files_of_stage0_become_one_checkpoint(stage0, tmp_path, capsys):
    files, mobilenet, resnet = stage0
    tool = load_tool('adafocus_to_dynnet')
    out = tmp_path / 'stage0.pth'
    tool.main([*files, '--out', str(out), '--config', str(CONFIG)])
    printed = capsys.readouterr().out
    assert 'none unused' in printed and 'not in the files: cls_head, policy' in printed
    state = load_checkpoint(out)['state_dict']
    assert state['global_head.fc.weight'].equal(mobilenet.classifier[1].weight)
    assert state['local_head.fc.bias'].equal(resnet.fc.bias)
    last = resnet.layer4[2].bn3.weight
    assert state['backbone.layer4.2.conv3.bn.weight'].equal(last)


def test_what_does_not_fit_is_named(stage0, tmp_path):
    (glancer, _), _, _ = stage0
    tool = load_tool('adafocus_to_dynnet')
    out = str(tmp_path / 'x.pth')
    other = CONFIG.with_name(CONFIG.name.replace('activitynet', 'fcvid'))
    with pytest.raises(
        CheckpointError, match=r'global_head.fc.weight .* \(239, 1280\)'
    ):
        tool.main([glancer, '--out', out, '--config', str(other)])
    torch.save({'epoch': 3}, tmp_path / 'empty.pth')
    with pytest.raises(CheckpointError, match='empty.pth: no AdaFocus checkpoint'):
        tool.main([str(tmp_path / 'empty.pth'), '--out', out, '--config', str(CONFIG)])
    with pytest.raises(CheckpointError, match='nowhere.pth does not exist'):
        tool.main(
            [str(tmp_path / 'nowhere.pth'), '--out', out, '--config', str(CONFIG)]
        )
    assert not Path(out).exists()


def test_tsms_own_files_are_mapped():
    resnet = torchvision.models.resnet18().state_dict()
    published = {}
    for name, value in resnet.items():
        name = re.sub(r'(layer\d\.\d\.conv1)\.', r'\1.net.', name)
        if not name.startswith('fc'):
            published[f'module.base_model.{name}'] = value
    published['module.new_fc.weight'] = torch.zeros(174, 512)
    renamed = tsm_keys(published)
    assert 'backbone.layer1.0.conv1.conv.net.weight' in renamed
    assert 'backbone.conv1.conv.weight' in renamed
    assert not any('fc' in name for name in renamed)
    # The copies of the policy inside the focuser entry are left out.
    focuser = {'net.conv1.weight': torch.zeros(1), 'policy.policy.x': torch.zeros(1)}
    assert list(focuser_keys(focuser)) == ['backbone.conv1.conv.weight']
