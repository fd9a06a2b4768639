"""Estimates of networks: densities, the sum of the parts, bad arguments."""

from dataclasses import replace

import pytest

from dynnet.latency import (
    Density,
    OpCost,
    best_granularity,
    break_even,
    build_model,
    estimate,
    explore,
    regnet_spec,
    resnet_spec,
    sum_costs,
)
from dynnet.latency.estimate import as_densities
from dynnet.utils.errors import ConfigError


def test_costs_add_up_in_both_modes():
    costs = [OpCost(3.0, 1.0, 0.5), OpCost(3.0, 1.0, 0.5, 'max')]
    assert [c.latency for c in costs] == [4.5, 3.5]
    assert sum_costs(costs).latency == 8.0
    assert [c.bound for c in costs] == ['compute'] * 2
    assert OpCost(0.0, 1.0, 2.0).bound == 'launch'


def test_densities_for_all_stages_blocks_and_by_name(net):
    names = [b.name for b in net.blocks]
    for given, expected in (
        (0.5, [0.5] * 4),
        ([0.2, 0.8], [0.2, 0.2, 0.8, 0.8]),
        ([0.1, 0.2, 0.3, 0.4], [0.1, 0.2, 0.3, 0.4]),
        (dict(zip(names, (0.4, 0.3, 0.2, 0.1))), [0.4, 0.3, 0.2, 0.1]),
    ):
        found = as_densities(given, net)
        assert [found[name].active for name in names] == expected
    with pytest.raises(ConfigError, match='3 densities fit neither the 2 stages'):
        as_densities([0.1, 0.2, 0.3], net)
    with pytest.raises(ConfigError, match='no density of the blocks layer1.1'):
        as_densities(dict.fromkeys(names[:1] + names[2:], 0.5), net)
    with pytest.raises(ConfigError, match=r'active=1.5 must lie in \[0, 1\]'):
        as_densities(1.5, net)


def test_bad_networks_and_backends_are_named(net):
    with pytest.raises(ConfigError, match=r"no backend 'cpp': choose from auto, gpu"):
        estimate(net, build_model('tx2'), 0.5, 'cpp')
    with pytest.raises(ConfigError, match='batch=0'):
        build_model('tx2', 0)
    with pytest.raises(ConfigError, match='one entry for each of the 4 stages'):
        resnet_spec(50, (4, 4))
    with pytest.raises(ConfigError, match='ResNet of depth 18'):
        resnet_spec(18)
    with pytest.raises(ConfigError, match="RegNet 'x'"):
        regnet_spec('x')
    with pytest.raises(ConfigError, match='out_channels=0'):
        replace(net.blocks[0], out_channels=0)


def test_static_blocks_cost_what_the_static_network_costs(net):
    model = build_model('v100')
    gated = estimate(net, model, 0.3)
    static = estimate(net.with_granularity(0), model, 0.3)
    assert static.latency == pytest.approx(gated.static, rel=1e-12)
    assert static.granularity == (0, 0)
    assert gated.latency == pytest.approx(sum(p.latency for p in gated.parts))


def test_exploration_finds_the_best_granularity_and_where_it_pays(net):
    model = build_model('v100')
    choices = explore(net, model, (1, 2, 4, 28), (0.25, 0.5, 1.0), whole=False)
    assert {c.granularity for c in choices if c.stage == 1} == {1, 2, 4}  # 28 > 14
    best = best_granularity(choices, 0.5)
    for choice in best:
        mine = [c for c in choices if (c.stage, c.density) == (choice.stage, 0.5)]
        assert choice.ms == min(c.ms for c in mine)
        found = estimate(
            net.with_granularity(choice.granularity), model, 0.5, None, False
        )
        assert found.stage_latency(choice.stage) == pytest.approx(
            choice.ms * model.batch / 1e3
        )
    even = break_even(choices, 0, best[0].granularity)
    at = {
        c.density: c
        for c in choices
        if c.stage == 0 and c.granularity == best[0].granularity
    }
    assert all((c.speedup >= 1) == (r <= (even or 0)) for r, c in at.items())


def test_density_of_one_number_is_checked():
    with pytest.raises(ConfigError, match='dilated'):
        Density(0.5, 1.5)
