"""Clips in milliseconds: both forms of AdaFocus, and MobileNet's convolutions."""

import importlib.util
import json
from dataclasses import replace
from pathlib import Path

import pytest
from mmengine.registry import DefaultScope

from dynnet.latency import CPULatencyModel, build_model, estimate, save_profile
from dynnet.latency.clips import clip_latencies
from dynnet.latency.describe import describe_model
from dynnet.registry import MODELS
from dynnet.utils.errors import ConfigError
from dynnet.utils.optional import is_available, require

pytestmark = pytest.mark.skipif(not is_available('mmaction'), reason='no mmaction')
ROOT = Path(__file__).parents[2]
CONFIG = dict(
    type='dynnet.AdaFocus',
    frame_size=64,
    patch_size=32,
    num_segments=4,
    num_classes=3,
    global_backbone=dict(type='mmpretrain.MobileNetV2', widen_factor=0.25),
    backbone=dict(type='mmpretrain.ResNet', depth=18),
    policy=dict(
        in_channels=1280, map_size=2, mid_channels=4, hidden_channels=32, num_actions=25
    ),
    cls_head=dict(type='dynnet.RecurrentHead', in_channels=1792, hidden_channels=16),
)


@pytest.fixture(scope='module')
def adafocus():
    require('mmaction')
    with DefaultScope.overwrite_default_scope('mmaction'):
        return MODELS.build(CONFIG).eval()


@pytest.mark.parametrize('device', ['tx2', 'cpu'])
def test_clips_are_the_sum_of_their_parts(adafocus, cpu, device):
    model = CPULatencyModel(cpu) if device == 'cpu' else build_model(device)
    found = clip_latencies(adafocus, model)
    assert found.unpriced == [] and found.num_frames == 4
    assert min(found.glance, found.policy, found.focus, found.head) > 0
    assert found.ms[0] == pytest.approx(
        found.glance + found.policy + found.focus + found.head
    )
    assert found.ms[-1] == found.total == pytest.approx(4 * found.ms[0])
    assert found.of_frames(4, 1) == pytest.approx(found.total - 3 * found.focus)


def test_encoders_cost_what_they_cost_alone(adafocus, cpu):
    warm = replace(cpu, l3_bytes=1 << 30)  # whatever else the clip has for weights
    for model in (build_model('v100'), CPULatencyModel(warm, 2)):
        found = clip_latencies(adafocus, model)
        alone = describe_model(adafocus.backbone, (3, 32, 32))
        assert found.focus == pytest.approx(estimate(alone, model).ms_per_image)


def test_convolutions_by_channel_need_their_calibration(adafocus, cpu):
    few = {k: v for k, v in cpu.backends.items() if k != 'depthwise'}
    with pytest.raises(ConfigError, match="'round' has no backend 'depthwise'"):
        clip_latencies(adafocus, CPULatencyModel(replace(cpu, backends=few)))


def test_two_streams_are_one_clip():
    from dynnet.apis import init_model

    config = ROOT / 'configs/adafocus/adafocus-tsm-r50-stage3-p144_1xb32-10e_sthv1.py'
    model = init_model(str(config), device='cpu')
    found = clip_latencies(model, build_model('v100'))
    assert found.num_frames == 1 and found.ms == [found.total]
    # The focus has more to compute than the glance, in milliseconds as in MACs.
    costs = model.measure_costs()
    assert costs.focus > 5 * costs.glance and found.focus > 2 * found.glance


def test_the_tool_reports_clips(tmp_path, cpu, capsys):
    path = ROOT / 'tools/analysis_tools/predict_latency.py'
    spec = importlib.util.spec_from_file_location('predict_latency', path)
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    save_profile(cpu, tmp_path / 'cpu.json')
    config = tmp_path / 'clip.py'
    config.write_text(f"default_scope = 'mmaction'\nmodel = {CONFIG!r}\n")
    argv = [str(config), '--device', str(tmp_path / 'cpu.json')]
    tool.main([*argv, '--out', str(tmp_path / 'clip.json')])
    shown = capsys.readouterr().out
    assert 'clip on round, batch 1, 64 x 64' in shown and 'ms per frame' in shown
    values = json.loads((tmp_path / 'clip.json').read_text())
    assert values['clip_ms'] == pytest.approx(values['frames_ms'][-1])
