"""The CPU's model: counts, fitting, what must be monotone, the rule for 'auto'."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dynnet.latency import (
    BackendProfile,
    BlockSpec,
    CPULatencyModel,
    CPUProfile,
    Density,
    DilationCurve,
    LayerSpec,
    estimate,
)
from dynnet.latency.cpu_profile import CONSTANTS
from dynnet.latency.cpu_work import conv_owner
from dynnet.latency.fitting import (
    Timing,
    errors,
    fit_profile,
    nonnegative_least_squares,
    predict,
    rank_correlation,
)
from dynnet.latency.measure import (
    Stopwatch,
    mask_density,
    random_layers,
    random_points,
)
from dynnet.latency.rule import ProfileRule
from dynnet.latency.runnable import RunnableNetwork
from dynnet.ops.sparse_conv import Problem, sparse_block
from dynnet.utils.errors import ConfigError

BLOCK = BlockSpec('b', 0, 256, 64, 256, (28, 28), granularity=4)
PROJECTION = BlockSpec(
    'p', 0, 256, 128, 512, (14, 14), 2, projection=True, granularity=2
)


def latency(profile, block, density, backend, batch=1):
    costs = CPULatencyModel(profile, batch).block(block, density, backend)
    return sum(cost.latency for _, cost in costs)


def test_least_squares_finds_what_made_the_data_and_nothing_negative():
    rng = np.random.default_rng(0)
    a = rng.random((40, 5))
    truth = np.array([2.0, 0.0, 1e-3, 5.0, 0.0])
    assert nonnegative_least_squares(a, a @ truth) == pytest.approx(truth, abs=1e-9)
    found = nonnegative_least_squares(a, a @ np.array([1.0, -1.0, 1.0, 0.5, 0.0]))
    assert (found >= 0).all() and found[1] == 0
    # Karush-Kuhn-Tucker: no descent along what is free or may grow
    slope = a.T @ (a @ np.array([1.0, -1.0, 1.0, 0.5, 0.0]) - a @ found)
    assert (slope[found == 0] < 1e-8).all() and abs(slope[found > 0]).max() < 1e-8


def test_fitting_recovers_a_profile_from_its_own_predictions(cpu):
    rng = np.random.default_rng(1)
    timings = []
    for point in random_points(60, seed=2):
        share = point.share
        density = Density(share, min(1.0, share + 0.3 * rng.random()))
        for name in ('dense', 'torch', 'cpp'):
            timings.append(Timing(name, point.block, point.batch, 1.0, density))
        timings.append(Timing('gate', point.block, point.batch, 1.0))
    timings += [
        Timing(
            conv_owner(layer) if layer.kind == 'conv' else 'layer', layer, batch, 1.0
        )
        for layer, batch in random_layers(60)
    ]
    timings = [replace(t, seconds=predict(t, cpu)) for t in timings]
    ones = BackendProfile(1.0, 1.0, 1.0, 1.0)
    blank = replace(cpu, backends=dict.fromkeys(('dense', 'gate', 'layer'), ones))
    fitted = fit_profile(blank, timings)
    assert abs(errors(timings, fitted)).max() < 1e-6
    for constant in CONSTANTS:
        expected = getattr(cpu.backends['cpp'], constant)
        found = getattr(fitted.backends['cpp'], constant)
        assert found == pytest.approx(expected, rel=1e-3, abs=1e-12)


def test_fitting_without_timings_is_refused(cpu):
    from dynnet.latency.fitting import fit_backend

    with pytest.raises(ConfigError, match="no timings of 'cpp'"):
        fit_backend([], cpu, 'cpp')


shares = st.tuples(st.floats(0, 1), st.floats(0, 1))


@pytest.mark.parametrize('backend', ['cpp', 'torch', 'dense'])
@pytest.mark.parametrize('block', [BLOCK, PROJECTION], ids=['plain', 'projection'])
@settings(max_examples=25, deadline=None)
@given(active=shares, dilated=shares, batch=st.sampled_from([1, 4]))
def test_more_density_is_never_faster(backend, block, active, dilated, batch):
    profile = make_profile()
    low, high = (
        latency(profile, block, Density(a, d), backend, batch)
        for a, d in zip(sorted(active), sorted(dilated))
    )
    assert low <= high * (1 + 1e-12)


def make_profile(**changed) -> CPUProfile:
    """As the fixture, which hypothesis does not take."""
    from importlib import import_module

    values = import_module('tests.test_latency.conftest').cpu_values.__wrapped__()
    return CPUProfile(**{**values, **changed})


@pytest.mark.parametrize(
    'field', ['l2_bandwidth', 'l3_bandwidth', 'bandwidth', 'flops_per_cycle']
)
@settings(max_examples=20, deadline=None)
@given(
    factor=st.floats(1.01, 8), share=st.floats(0.05, 1), batch=st.sampled_from([1, 8])
)
def test_a_better_machine_is_never_slower(field, factor, share, batch):
    base = make_profile()
    better = replace(base, **{field: factor * getattr(base, field)})
    density = Density(share, min(1.0, 1.3 * share))
    for backend in ('cpp', 'torch', 'dense'):
        slow, fast = (
            latency(p, PROJECTION, density, backend, batch) for p in (base, better)
        )
        assert fast <= slow * (1 + 1e-12)


def test_dilation_is_what_granularity_changes(cpu):
    same = Density(0.4, 0.5), Density(0.4, 0.8)
    for backend in ('cpp', 'torch'):
        few, many = (latency(cpu, BLOCK, d, backend) for d in same)
        assert few < many
    few, many = (latency(cpu, BLOCK, d, 'dense') for d in same)
    assert few == many


def test_auto_takes_the_fastest_backend_of_every_block(cpu, net):
    curve = DilationCurve('blob')
    model = CPULatencyModel(cpu)
    assert model.backends == ('cpp', 'torch', 'dense')
    ways = {b: estimate(net, model, 0.6, b, curve=curve) for b in model.backends}
    auto = estimate(net, model, 0.6, 'auto', curve=curve)
    for i, part in enumerate(auto.parts):
        assert part.latency == min(way.parts[i].latency for way in ways.values())


def test_weights_of_large_networks_are_cold(cpu, net):
    model = CPULatencyModel(cpu)
    warm = estimate(net, model, 0.5, 'cpp', curve=DilationCurve('blob'))
    small = replace(cpu, l3_bytes=net.weight_bytes - 1)
    cold = estimate(
        net, CPULatencyModel(small), 0.5, 'cpp', curve=DilationCurve('blob')
    )
    added = {n: c for n, c in cold.parts[0].ops}.pop('cold weights')
    assert added.memory == pytest.approx(
        net.blocks[0].weight_bytes / cpu.read_bandwidth
    )
    assert 'cold weights' not in dict(warm.parts[0].ops)
    assert net.weight_bytes == sum(b.weight_bytes for b in net.blocks)


def test_a_missing_backend_is_named(cpu):
    with pytest.raises(ConfigError, match="'round' has no backend 'mkldnn'"):
        CPULatencyModel(cpu).block(BLOCK, Density(0.5, 0.6), 'mkldnn')


# --- measuring


def test_points_are_reproducible_and_varied():
    points = random_points(80, seed=4)
    assert points == random_points(80, seed=4)
    assert {p.block.stride for p in points} == {1, 2}
    assert len({p.block.granularity for p in points}) >= 4
    assert len({p.batch for p in points}) == 4


def test_runnable_networks_agree_on_all_backends(net):
    run = RunnableNetwork(net, 2, 0.5)
    expected = None
    with torch.inference_mode():
        for backend in ('dense', 'torch'):
            torch.manual_seed(0)
            run.x = torch.rand(2, 64, 28, 28).contiguous(
                memory_format=torch.channels_last
            )
            y = run(backend)
            expected = y if expected is None else expected
            assert torch.allclose(y, expected, atol=1e-3)
    for block in net.blocks:
        assert 0.4 < run.densities[block.name].active < 0.6
        assert run.densities[block.name].dilated > 0.25


def test_a_stopwatch_counts_calls_of_the_process():
    calls = []
    seconds = Stopwatch(1, rounds=3, least=0.0)(lambda: calls.append(sum(range(20000))))
    assert len(calls) == 5 and 0 < seconds < 1


def test_rank_correlation():
    assert rank_correlation([1, 2, 3], [10, 20, 30]) == pytest.approx(1)
    assert rank_correlation([1, 2, 3], [3, 2, 1]) == pytest.approx(-1)
    # Ranks 1, 2.5, 2.5, 4 against 1, 2, 3, 4
    assert rank_correlation([1, 2, 2, 3], [1, 2, 3, 4]) == pytest.approx(0.9486833)


# --- the rule


def problem(share: float) -> Problem:
    from dynnet.latency.measure import random_block, random_map

    g = torch.Generator().manual_seed(0)
    x = random_map(1, 256, (28, 28), g)
    mask = torch.zeros(1, 7, 7, dtype=torch.bool)
    mask.view(-1)[: round(share * 49)] = True
    return Problem(x, mask, random_block(BLOCK, g))


def test_the_rule_picks_what_is_predicted_to_be_faster(cpu):
    slow = dict(pointwise_cost=2.0, window_cost=2.0, weight_cost=1.0, traffic_cost=2.0)
    backends = {k: v for k, v in cpu.backends.items() if k != 'cpp'}
    profile = replace(cpu, backends={**backends, 'torch': BackendProfile(**slow)})
    rule = ProfileRule(profile)
    assert [rule(problem(share)) for share in (0.1, 1.0)] == ['torch', 'dense']
    p = problem(0.1)
    with torch.inference_mode():
        auto = sparse_block(p.x, p.coarse, p.block, 'auto', rule=rule)
        dense = sparse_block(p.x, p.coarse, p.block, 'dense')
    assert torch.allclose(auto, dense, atol=1e-4)


def test_densities_of_masks_count_positions_not_cells():
    block = BlockSpec('b', 0, 8, 8, 32, (7, 7), granularity=3)
    masks = np.array([[[True, False], [False, False]]])
    assert mask_density(masks, block).active == pytest.approx(16 / 49)  # 4 of 7 rows


def test_layers_of_every_kind_are_priced(cpu):
    model = CPULatencyModel(cpu, 2)
    for kind in ('linear', 'max_pool', 'avg_pool', 'add', 'scale', 'pointwise', 'conv'):
        layer = LayerSpec(kind, 8, 8, (4, 4), (4, 4), 3 if kind == 'max_pool' else 1)
        assert model.layer(layer).latency > 0
    for groups, owner in ((8, 'depthwise'), (2, 'grouped')):
        conv = LayerSpec('conv', 8, 8, (64, 64), (64, 64), 3, groups=groups)
        same = replace(cpu.backends[owner], window_cost=100.0)
        slower = replace(cpu, backends={**cpu.backends, owner: same})
        price = model.layer(conv).latency
        assert 0 < price < CPULatencyModel(slower, 2).layer(conv).latency
        few = {k: v for k, v in cpu.backends.items() if k != owner}
        with pytest.raises(ConfigError, match=f'no backend {owner!r}'):
            CPULatencyModel(replace(cpu, backends=few)).layer(conv)
    with pytest.raises(ConfigError, match="layer kind 'lstm'"):
        LayerSpec('lstm', 8, 8)
