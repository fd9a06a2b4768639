"""tools/analysis_tools/cam_overlay.py"""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip('mmpretrain')

from dynnet.apis import init_model
from dynnet.apis.inference import read_config
from dynnet.utils.errors import ConfigError, DataError

ROOT = Path(__file__).parents[2]
CONFIGS = ROOT / 'configs/cam_loss'
PLAIN = str(CONFIGS / 'resnet20_1xb64-12e_cifar10-npz.py')
CAM = str(CONFIGS / 'resnet20_cam_1xb64-12e_cifar10-npz.py')


@pytest.fixture(scope='module')
def tool():
    path = ROOT / 'tools/analysis_tools/cam_overlay.py'
    spec = importlib.util.spec_from_file_location('cam_overlay', path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def data(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 255, (12, 32, 32, 3), dtype=np.uint8)
    np.savez(tmp_path / 'set.npz', x_test=images, y_test=np.arange(12) % 10)
    monkeypatch.setenv('CIFAR10_NPZ', str(tmp_path / 'set.npz'))
    for name, config in (('plain', PLAIN), ('cam', CAM)):
        torch.manual_seed(len(name))
        model = init_model(config)
        torch.save(dict(state_dict=model.state_dict()), tmp_path / f'{name}.pth')
    return tmp_path


def scale(x):
    return (x - x.min()) / (x.max() - x.min())


def test_two_nets_side_by_side(tool, data, capsys):
    out, numbers = data / 'figures/cams.png', data / 'cams.json'
    command = [PLAIN, str(data / 'plain.pth'), '--name', 'plain']
    command += ['--compare', 'CAM-loss', CAM, str(data / 'cam.pth')]
    command += ['--out', str(out), '--json', str(numbers), '--pictures', '2']
    tool.main(command)
    assert out.read_bytes().startswith(b'\x89PNG')
    shown = capsys.readouterr().out
    written = json.loads(numbers.read_text())
    assert list(written) == ['plain', 'CAM-loss'] and 'inside top 20%' in shown
    # By hand: all twelve pictures through the plain net.
    model = init_model(PLAIN, data / 'plain.pth')
    arrays = np.load(data / 'set.npz')
    x = torch.from_numpy(arrays['x_test']).permute(0, 3, 1, 2).float()
    mean, std = model.data_preprocessor.mean, model.data_preprocessor.std
    with torch.no_grad():
        feats = model.backbone((x - mean) / std)[-1].double()
    weight = model.head.fc.weight.detach().double()
    distances, shares = [], []
    for feat, label in zip(feats, arrays['y_test']):
        caam, cam = feat.sum(0), (weight[label][:, None, None] * feat).sum(0)
        distances.append(float((scale(caam) - scale(cam)).abs().mean()))
        best = cam.flatten().argsort(descending=True)[:13]  # 20 % of 8 x 8
        shares.append(float(caam.flatten()[best].sum() / caam.sum()))
    assert written['plain']['pictures'] == 12
    assert written['plain']['distance'] == pytest.approx(np.mean(distances), abs=1e-4)
    assert written['plain']['share'] == pytest.approx(np.mean(shares), abs=1e-4)


@pytest.mark.parametrize(
    ('change', 'error', 'message'),
    [
        ('two names', ConfigError, "two nets are called 'same'"),
        ('two layers', ConfigError, 'no head with one linear layer'),
        ('four classes', DataError, 'between 0 and 3'),
    ],
)
def test_bad_input_is_named(tool, data, change, error, message):
    command = [PLAIN, str(data / 'plain.pth'), '--name', 'same']
    command += ['--out', str(data / 'x.png')]
    if change == 'two names':
        command += ['--compare', 'same', CAM, str(data / 'cam.pth')]
    else:
        cfg = read_config(PLAIN)
        head = dict(num_classes=4)
        if change == 'two layers':
            head = dict(type='StackedLinearClsHead', mid_channels=[8])
        cfg.model.head.update(head)
        config = data / 'changed.py'
        cfg.dump(str(config))
        command[0] = str(config)
        torch.save(dict(state_dict=init_model(cfg).state_dict()), data / 'plain.pth')
    with pytest.raises(error, match=message):
        tool.main(command)
