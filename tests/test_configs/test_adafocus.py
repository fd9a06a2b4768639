"""AdaFocus's configs: what each stage trains, how fast, from what, at what cost."""

import copy
import re
from pathlib import Path

import pytest
import torch
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DefaultScope

from dynnet.registry import MODELS
from dynnet.utils.optional import is_available, require

from .common import configs_of, read

pytestmark = pytest.mark.skipif(
    not is_available('mmaction'), reason='mmaction2 is not installed'
)
CONFIGS = [Path(name).stem for name in configs_of('adafocus')]
PAPER = [name for name in CONFIGS if '-r50-' in name]


def build(name: str) -> torch.nn.Module:
    require('mmaction')
    cfg = copy.deepcopy(read(f'adafocus/{name}.py').model)
    with DefaultScope.overwrite_default_scope('mmaction'), torch.device('meta'):
        return MODELS.build(cfg)


# Giga-MACs of a clip by the paper's accounting.
TOTALS = {
    'adafocus-r50-stage3-p96_1xb64-10e_activitynet': 17.2,
    'adafocus-r50-stage3-p128_1xb64-10e_activitynet': 26.5,
    'adafocus-r50-stage3-p160_1xb64-10e_activitynet': 38.5,
    'adafocus-r50-stage3-p192_1xb64-10e_activitynet': 53.2,
    'adafocus-tsm-r50-stage3-p144_1xb32-10e_sthv1': 23.5,
    'adafocus-tsm-r50-stage3-p160_1xb32-10e_sthv1': 27.5,
    'adafocus-tsm-r50-stage3-p176_1xb32-10e_sthv1': 33.7,
}


@pytest.mark.parametrize('name', TOTALS)
def test_cost_is_the_papers(name):
    costs = build(name).measure_costs()
    assert round(costs.total / 1e9, 1) == TOTALS[name]
    assert not costs.uncounted
    if 'tsm' in name:
        return
    # Per frame: f_G, the policy, the classifier.
    assert costs.glance == pytest.approx(0.2995e9, rel=1e-3)
    assert costs.policy == pytest.approx(0.0100e9, rel=1e-2)
    assert costs.head == pytest.approx(0.0136e9, rel=1e-2)
    assert len(costs.macs) == 16 and costs.macs[-1] == costs.total


def test_there_is_a_config_for_every_stage_data_set_and_patch():
    for data in ('activitynet', 'fcvid', 'mini-kinetics'):
        for stage in (1, 2, 3):
            for patch in (96, 128, 160, 192):
                found = [
                    name
                    for name in PAPER
                    if f'-stage{stage}-p{patch}_' in name
                    and name.endswith(f'_{data}')
                    and not name.startswith('adafocus-r50-gate')
                ]
                assert len(found) == 1, (data, stage, patch)
    for data in ('sthv1', 'sthv2'):
        names = [name for name in PAPER if name.endswith(data)]
        assert len(names) == 2 + 3 * 3


@pytest.mark.parametrize('name', CONFIGS)
def test_a_stage_starts_from_the_last_checkpoint_of_the_one_before(name):
    cfg = read(f'adafocus/{name}.py')
    # Paths that are not another config's work folder are the user's.
    found = re.fullmatch(r'work_dirs/(.+)/epoch_(\d+)\.pth', cfg.load_from or '')
    if found is None:
        return
    before = read(f'adafocus/{found[1]}.py')
    assert int(found[2]) == before.train_cfg.max_epochs
    ours, theirs = name.rsplit('_', 1)[1], found[1].rsplit('_', 1)[1]
    assert ours == theirs
    for key in ('frame_size', 'glance_size', 'num_segments', 'num_classes'):
        assert cfg.model.get(key) == before.model.get(key)
    if '-stage0-' not in found[1]:
        assert cfg.model.patch_size == before.model.patch_size


RATES = {
    'adafocus-r50-stage0-global_1xb64-15e_activitynet': {'global_backbone': 0.01},
    'adafocus-r50-stage0-local_1xb64-15e_fcvid': {'backbone': 0.01},
    'adafocus-r50-stage1-p128_1xb64-50e_fcvid': {'backbone': 5e-4, 'cls_head': 0.05},
    'adafocus-r50-stage2-p96_1xb64-50e_activitynet': {'policy': 3e-4},
    'adafocus-r50-stage3-p96_1xb64-10e_mini-kinetics': {'cls_head': 0.005},
    'adafocus-tsm-r50-stage1-p144_1xb64-10e_sthv1': {
        'backbone': 1e-5,
        'cls_head': 0.01,
    },
    'adafocus-tsm-r50-stage2-p176_1xb64-50e_sthv2': {'policy': 3e-4},
    'adafocus-tsm-r50-stage3-p144_1xb32-10e_sthv2': {'cls_head': 5e-4},
    'adafocus-r50-gate-p128_1xb64-50e_activitynet': {'policy': 3e-4},
    'adafocus-r50-e2e-p128_1xb32-50e_activitynet': {
        'policy': 2e-4,
        'global_backbone': 1e-3,
        'backbone': 2e-3,
        'cls_head': 1e-2,
    },
}


@pytest.mark.parametrize('name', RATES)
def test_learning_rates_are_those_that_the_scripts_name(name):
    net = build(name)
    cfg = copy.deepcopy(read(f'adafocus/{name}.py').optim_wrapper)
    with DefaultScope.overwrite_default_scope('mmaction'):
        optimizer = build_optim_wrapper(net, cfg).optimizer
    rates = {id(p): g['lr'] for g in optimizer.param_groups for p in g['params']}
    for part, rate in RATES[name].items():
        for key, parameter in getattr(net, part).named_parameters():
            if key.startswith('critic') and 'e2e' in name:
                assert not parameter.requires_grad
                continue
            assert parameter.requires_grad
            assert rates[id(parameter)] == pytest.approx(rate)
    if 'e2e' not in name:
        trained = {
            n.split('.')[0] for n, p in net.named_parameters() if p.requires_grad
        }
        assert trained - {'global_head', 'local_head'} == set(RATES[name])


@pytest.mark.parametrize('name', CONFIGS)
def test_hooks_are_hooks(name):
    """A base's list cannot be unpacked into another: mmengine leaves letters of it."""
    assert all(hook['type'] for hook in read(f'adafocus/{name}.py').custom_hooks)


@pytest.mark.parametrize('data, classes', [('fcvid', 239), ('mini-kinetics', 200)])
def test_heads_have_the_classes_of_the_data(data, classes):
    net = build(f'adafocus-r50-stage1-p128_1xb64-50e_{data}')
    for head in (net.cls_head, net.global_head, net.local_head):
        assert head.num_classes == classes
