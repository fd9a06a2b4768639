"""Descriptions of built models, early exits in milliseconds, and the two tools."""

import importlib.util
import json
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip('mmpretrain')

from dynnet.latency import (
    CPULatencyModel,
    build_model,
    estimate,
    regnet_spec,
    resnet_spec,
)
from dynnet.latency.describe import describe_model
from dynnet.latency.exits import exit_latencies
from dynnet.latency.rule import ProfileRule
from dynnet.models.backbones.las_resnet import LASRegNet, LASResNet
from dynnet.models.gates import set_execution
from dynnet.utils.errors import ConfigError

ROOT = Path(__file__).parents[2]


def load_tool(name: str):
    path = ROOT / 'tools/analysis_tools' / f'{name}.py'
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_built_networks_have_the_described_blocks():
    for model, spec in (
        (
            LASResNet(50, granularity=(8, 4, 7, 1)),
            resnet_spec(50, (8, 4, 7, 1), (64, 64)),
        ),
        (
            LASRegNet('regnety_400mf', granularity=(4, 4, 2, 1)),
            regnet_spec('regnety_400mf', input_size=(64, 64)),
        ),
    ):
        found = describe_model(model, (3, 64, 64))
        assert found.blocks == spec.blocks
        assert found.stem[0] == replace(spec.stem[0], name=found.stem[0].name)
        assert [layer.kind for layer in found.stem[1:3]] == ['pointwise'] * 2


def test_layer_gates_are_described():
    model = LASResNet(50, gate=dict(type='dynnet.LayerGate'))
    found = describe_model(model, (3, 64, 64))
    assert {b.gate for b in found.blocks} == {'layer'}
    assert found.blocks[0].cells == (1, 1)


def test_a_rule_reaches_the_gated_blocks(cpu):
    import torch

    asked = []

    class Spy(ProfileRule):
        def __call__(self, problem):
            asked.append(super().__call__(problem))
            return 'torch'

    model = LASResNet(50)
    model.eval()  # mmpretrain's returns nothing
    set_execution(model, 'execute', 'auto', Spy(cpu))
    with torch.no_grad():
        model(torch.rand(1, 3, 64, 64))
    assert len(asked) == 16 and set(asked) <= {'cpp', 'torch', 'dense'}


def test_exits_cost_milliseconds_that_grow(cpu):
    from dynnet.apis import init_model

    config = ROOT / 'configs/ranet/ranet-small_1xb64-60e_cifar10-npz.py'
    model = init_model(str(config), device='cpu')
    for latency_model in (build_model('tx2'), CPULatencyModel(cpu)):
        found = exit_latencies(model, (3, 32, 32), latency_model)
        assert len(found.ms) == model.backbone.num_exits
        assert all(b > a > 0 for a, b in zip(found.ms, found.ms[1:]))


def test_gated_models_take_a_profile_from_their_config(cpu, tmp_path):
    import torch
    from mmengine.registry import DefaultScope

    from dynnet.latency import save_profile
    from dynnet.models.classifiers.gated_classifier import GatedClassifier

    def build(**test_cfg):
        backbone = dict(type='dynnet.LASResNet', depth=50)
        with DefaultScope.overwrite_default_scope('mmpretrain'):
            return GatedClassifier(backbone, test_cfg=test_cfg)

    # Gathering is dear: whatever the masks, computing all is predicted to be fastest.
    dear = replace(cpu.backends['torch'], position_s=1.0)
    backends = {**cpu.backends, 'torch': dear, 'cpp': dear}
    path = str(tmp_path / 'cpu.json')
    save_profile(replace(cpu, backends=backends), path)
    model = build(mode='execute', profile=path)
    used = []
    with pytest.MonkeyPatch.context() as patch:
        call = ProfileRule.__call__
        patch.setattr(
            ProfileRule,
            '__call__',
            lambda rule, problem: used.append(call(rule, problem)) or used[-1],
        )
        model.eval()
        with torch.no_grad():
            model.extract_feat(torch.rand(1, 3, 64, 64))
    assert used == ['dense'] * 16
    model.mode = 'simulate'
    model.mode = 'execute'  # the rule stays
    assert isinstance(model.backbone.layer1[0].rule, ProfileRule)
    with pytest.raises(ConfigError, match="needs backend='auto', not 'torch'"):
        build(backend='torch', profile=path)
    with pytest.raises(ConfigError, match="kind='gpu'"):
        build(profile='v100')
    with pytest.raises(ConfigError, match="no hardware profile 'none.json'"):
        build(profile='none.json')


def test_grus_are_two_products_a_step():
    import torch

    from dynnet.latency.describe import describe_gru

    gru = torch.nn.GRU(6, 4, num_layers=2, batch_first=True)
    layers = describe_gru('gru', gru, torch.zeros(2, 3, 6))
    assert len(layers) == 3 * 4
    assert [(x.in_channels, x.out_channels) for x in layers[:4]] == [
        (6, 12), (4, 12), (4, 12), (4, 12),
    ]  # fmt: skip


def test_networks_without_gates_are_estimated(cpu):
    """A policy's glance network or a focus network, say."""
    from mmpretrain.models import ResNet

    for latency_model in (build_model('tx2'), CPULatencyModel(cpu)):
        times = []
        for side in (64, 128):
            network = describe_model(ResNet(18), (3, side, side))
            assert not network.blocks
            times.append(estimate(network, latency_model).ms_per_image)
        assert 0 < times[0] < times[1]


def test_predict_latency_prints_writes_and_draws(tmp_path, capsys):
    tool = load_tool('predict_latency')
    argv = ['resnet50', '--device', 'v100', '--published', '--densities', '0.3', '0.5']
    argv += ['--granularities', '1', '4', '--out', str(tmp_path / 'p.json')]
    tool.main([*argv, '--blocks', '--plot', str(tmp_path / 'p.png')])
    shown = capsys.readouterr().out
    assert 'resnet50 on NVIDIA V100, batch 128' in shown
    assert 'best S at r=0.5: ' in shown and 'layer4.2' in shown and 'bound by' in shown
    values = json.loads((tmp_path / 'p.json').read_text())
    assert values['static_ms_per_image'] == pytest.approx(0.9079, abs=1e-3)
    assert len(values['choices']) == 4 * 2 * 2 and len(values['blocks']) == 16
    assert values['choices'][0]['speedup'] > 0
    assert (tmp_path / 'p.png').stat().st_size > 1000


def test_predict_latency_takes_configs_and_profiles(cpu, tmp_path, capsys):
    from dynnet.latency import save_profile

    tool = load_tool('predict_latency')
    config = tmp_path / 'tiny.py'
    config.write_text(
        "default_scope = 'mmpretrain'\n"
        "model = dict(type='ImageClassifier', backbone=dict(type='dynnet.LASResNet',\n"
        '    depth=50, granularity=(4, 4, 2, 1)), neck=None, head=None)\n'
    )
    save_profile(cpu, tmp_path / 'cpu.json')
    argv = [str(config), '--device', str(tmp_path / 'cpu.json'), '--input-size', '64']
    argv += ['--granularities', '1', '2', '--densities', '0.5', '--backend', 'auto']
    tool.main(argv)
    assert 'tiny on round, batch 1' in capsys.readouterr().out
    with pytest.raises(ConfigError, match="no hardware profile 'nothing'"):
        tool.main(['resnet50', '--device', 'nothing'])
    with pytest.raises(ConfigError, match='config file nothing.py does not exist'):
        tool.main(['nothing.py', '--device', 'tx2'])
    plain = tmp_path / 'plain.py'
    plain.write_text(
        "default_scope = 'mmpretrain'\n"
        "model = dict(type='ImageClassifier', backbone=dict(type='ResNet', depth=18))\n"
    )
    with pytest.raises(ConfigError, match='ResNet has no gated blocks'):
        tool.main([str(plain), '--device', 'tx2'])


def test_predict_latency_knows_exits(tmp_path, capsys):
    tool = load_tool('predict_latency')
    config = str(ROOT / 'configs/ranet/ranet-small_1xb64-60e_cifar10-npz.py')
    out = tmp_path / 'exits.json'
    argv = [config, '--device', 'tx2', '--input-size', '32', '--out', str(out)]
    tool.main(argv)
    assert 'batch 1, 32 x 32' in capsys.readouterr().out
    times = json.loads(out.read_text())['exits_ms']
    assert len(times) > 1 and times == sorted(times)
    with pytest.raises(ConfigError, match='has no gates: --plot'):
        tool.main([*argv, '--plot', str(tmp_path / 'p.png')])


def test_check_latency_times_real_networks(cpu, tmp_path, capsys):
    from dynnet.latency import save_profile

    tool = load_tool('check_latency')
    save_profile(cpu, tmp_path / 'cpu.json')
    argv = [str(tmp_path / 'cpu.json'), '--input-size', '32', '--rounds', '2']
    argv += ['--granularity', '2-2-1-1', '--densities', '0.5', '--nets', 'resnet50']
    tool.main([*argv, '--out', str(tmp_path / 'c.json')])
    assert '2-2-1-1' in capsys.readouterr().out
    found = json.loads((tmp_path / 'c.json').read_text())['resnet50']
    assert found['cases'] == len(found['rows']) >= 2
    assert {'torch', 'dense'} <= {row['backend'] for row in found['rows']}
    # Masks of the asked density, not what random gates say.
    assert all(0.4 < row['density'] < 0.7 for row in found['rows'])
    assert all(row['ms'] > 0 and row['predicted_ms'] > 0 for row in found['rows'])
    with pytest.raises(ConfigError, match="kind='gpu' cannot be timed here"):
        tool.main(['tx2'])
    with pytest.raises(ConfigError, match='--rounds 1: at least 2'):
        tool.main([argv[0], '--rounds', '1'])


def test_calibrate_latency_writes_a_profile_that_loads(tmp_path, capsys, monkeypatch):
    from dynnet.latency import load_profile, measure

    tool = load_tool('calibrate_latency')
    small = tuple(
        (i // 8, m // 8, s, st, p) for i, m, s, st, p in measure.RESNET_BLOCKS
    )
    monkeypatch.setattr(measure, 'RESNET_BLOCKS', small)
    watch = measure.Stopwatch
    monkeypatch.setattr(tool, 'Stopwatch', lambda t, **k: watch(t, 1, 0.0))
    monkeypatch.setattr(tool, 'GRANULARITIES', ((2, 2, 1, 1),))
    monkeypatch.setattr(tool, 'DENSITIES', (0.5,))
    out = tmp_path / 'cpu.json'
    argv = ['--out', str(out), '--blocks', '12', '--nets', '--depths', '50']
    argv += ['--input-size', '64', '--report', str(tmp_path / 'r.json')]
    tool.main(argv)
    profile = load_profile(out)
    assert profile.threads == 1 and {'dense', 'torch', 'gate'} <= set(profile.backends)
    calibration = profile.calibration
    assert calibration['blocks'] == 12 and 'all blocks' in str(calibration['operators'])
    assert calibration['nets']['median_error'] < 5
    report = json.loads((tmp_path / 'r.json').read_text())
    assert any(row['granularity'] == 'static' for row in report['net_rows'])
    with pytest.raises(ConfigError, match='--blocks 2: at least 4'):
        tool.main(['--out', str(out), '--blocks', '2'])
