"""Trials on frozen features: a policy finds what there is to find."""

import runpy
from pathlib import Path

import pytest
import torch

from dynnet.utils.errors import ConfigError
from dynnet.utils.optional import is_available

TOOL = Path(__file__).parents[2] / 'tools/benchmarks/adafocus_frozen.py'
pytestmark = pytest.mark.skipif(
    not is_available('mmaction'), reason='mmaction2 is not installed'
)


@pytest.fixture(scope='module')
def tool():
    return runpy.run_path(str(TOOL))


def made(tool, told: bool):
    """24 clips; the class is seen in one place only, which the map may tell."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(24) % 2
    places = torch.randint(9, (24, 3), generator=generator)
    maps = torch.zeros(24, 3, 9, 2, 2)
    if told:
        maps.scatter_(2, places[..., None, None, None].expand(-1, -1, 1, 2, 2), 3.0)
    local = torch.randn(24, 3, 9, 4, generator=generator) * 0.1
    signal = (labels * 2.0 - 1)[:, None, None, None].expand(24, 3, 1, 1)
    local[..., :1].scatter_add_(2, places[..., None, None], signal)
    return tool['Features'](maps, local, labels, torch.arange(24) // 2 % 3)


def test_what_is_there_is_found(tool):
    setting = tool['Setting'](stage1=100, stage2=60, lr=3e-3, glance=False)
    found = tool['run_setting'](setting, made(tool, True), 0)
    assert found['clips'] == 24 and sum(f >= 0 for f in found['hits'].values()) == 3
    assert found['reward']['last'] > found['reward']['first'] + 0.02
    room = found['headroom']['train']
    assert room['ceiling'] > 0.02 and 0 < room['place_share'] < 1
    assert 0.5 < found['gain']['train'] / room['ceiling'] <= 1
    assert found['hits']['learned'] > found['hits']['random'] + 3
    blind = tool['run_setting'](setting, made(tool, False), 0)
    assert blind['reward']['last'] < found['reward']['last'] / 2
    assert max(blind['gain'].values()) < min(found['gain'].values())
    table = tool['format_rows'](dict(a=found, b=blind)).splitlines()
    assert len(table) == 4 and str(found['hits']['learned']) in table[2]


def test_features_are_picked_by_place(tool):
    data = made(tool, True)
    trial = tool['Trial'](tool['Setting'](), data, 0)
    places = torch.arange(72).view(24, 3) % 9
    feats = trial.feats(data, places)
    assert feats.shape == (24, 3, 9 + 4)
    for n, t in ((0, 0), (5, 2), (23, 1)):
        assert feats[n, t, 9:].equal(data.local[n, t, places[n, t]])
        assert feats[n, t, :9].equal(data.maps[n, t].mean((1, 2)))
    assert trial.places(data, 'centre').unique().tolist() == [4]


def test_a_grid_without_a_middle_is_refused(tool):
    with pytest.raises(ConfigError, match='--places 16'):
        tool['main'](['x.pth', '--places', '16'])
