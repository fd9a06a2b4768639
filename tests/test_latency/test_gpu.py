"""The published model: a plain loop, published figures, and what must be monotone."""

import itertools
import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dynnet.latency import (
    GPULatencyModel,
    GPUOperators,
    GPUProfile,
    build_model,
    estimate,
    load_profile,
    regnet_spec,
    resnet_spec,
)
from dynnet.latency.tiling import candidates, search

# Published tiles of the scaling in squeeze and excitation, 208 x 14 x 14.
SCALING_TILES = dict(
    v100=(1, 14, 16),
    rtx3090=(2, 14, 16),
    rtx3060=(2, 14, 16),
    tx2=(52, 14, 14),
    nano=(52, 14, 14),
)
MINE = GPUProfile('mine', 12, 64, 1.2e9, 2e11, batch_size=4)


def test_candidates_are_those_of_the_definition():
    for n in range(1, 300):
        powers = {2**i for i in range(8) if 2**i <= 2 * n}
        parts = {math.ceil(n / i) for i in range(1, min(n, 8))}
        expected = powers | parts | set(range(2, min(n, 8)))
        assert candidates(n) == sorted(expected)


def loop_dynamic_conv(p, cin, cout, h, k, side, m, batch):
    """The search as nested loops over one patch count: the first strict minimum."""
    memory, l2 = p.bandwidth / 4, p.bandwidth / 4 * p.l2_speedup
    wave, best = p.lanes * p.wave_factor, None
    for par, c, th, tw in itertools.product(
        candidates(256), candidates(cout), candidates(side), candidates(side)
    ):
        n = math.ceil(cout / c) * math.ceil(side / th) * math.ceil(side / tw)
        spans = math.ceil(c / cout)
        halo = (th + k - 1) * (tw + k - 1)
        tile = c * cin * k * k + batch * m * (spans * cin * halo + c * th * tw)
        glob = cout * cin * k * k + batch * (cin * h * h + m * cout * side**2)
        mem = glob / memory + n * tile / l2
        work = c * th * tw * batch * par
        use = work / (wave * math.ceil(work / wave))
        flops = c * th * tw * cin * k * k * par
        comp = flops / (p.lanes * use) / p.frequency_hz
        comp *= math.ceil(m / par) * batch * math.ceil(n / p.num_pe)
        if best is None or comp + mem < sum(best):
            best = comp, mem
    return best


@pytest.mark.parametrize('side', [1, 2, 4])
def test_vectorised_search_equals_the_loops(side):
    ops = GPUOperators(MINE, tile_at='actual')
    cost = ops.dynamic_conv(24, 20, 8, 8, 3, side, 0.4)
    patches = math.ceil(0.4 * (8 // side) ** 2)
    expected = loop_dynamic_conv(MINE, 24, 20, 8, 3, side, patches, 4)
    assert (cost.compute, cost.memory) == pytest.approx(expected, rel=1e-12)


def pairwise(p, c, sums):
    """Cycles of halving ``sums`` partial sums of c channels until one round is left."""
    cycles, left = 0, math.ceil(sums / 2)
    while left > 1:
        work, wave = c * left, p.lanes * p.wave_factor
        idle = p.lanes * math.ceil(work / p.lanes) / work
        cycles += p.wave_factor * math.ceil(work / wave) * idle
        left = math.ceil(left / 2)
    return cycles


def test_static_pool_equals_a_loop():
    p, channels, area = MINE, 24, 8 * 6
    memory, found = p.bandwidth / 4, []
    for c in (1, 2, 4, 8, 16, 32):
        groups = math.ceil(channels / c)
        cycles = p.wave_factor * math.ceil(groups * area / p.num_pe)
        cycles += p.batch_size * pairwise(p, c, area)
        far, near = groups * c * area + channels, groups * c * (2 * area + 1)
        seconds = p.batch_size * (far + near / p.l2_speedup) / memory
        found.append(cycles / p.frequency_hz + seconds)
    cost = GPUOperators(p).squeeze_pool(channels, 8, 6)
    assert cost.compute + cost.memory == pytest.approx(min(found), rel=1e-12)


@pytest.mark.parametrize('side', [1, 2, 4])
def test_dynamic_pool_equals_the_loops(side):
    p, channels, area, total = MINE, 24, 64, (8 // side) ** 2
    m = math.ceil(0.4 * total)
    memory, wave, found = p.bandwidth / 4, p.lanes * p.wave_factor, []
    for par, c, th, tw in itertools.product(
        candidates(total), candidates(channels), candidates(side), candidates(side)
    ):
        spans, groups = math.ceil(side / th) * math.ceil(side / tw), channels / c
        tiles = math.ceil(groups) * spans
        adds = th * tw * math.ceil(c * par / wave) * math.ceil(m / par)
        adds += par * math.ceil(c / wave)
        cycles = p.wave_factor * adds * math.ceil(tiles / p.num_pe)
        cycles += pairwise(p, c, total * spans)
        use = 1 if tw >= side else tw / side  # side is at most a request
        near = tiles * (c * th * tw * m / use + c) + c * (total * spans + 1)
        far = channels * (area + m * side**2 + 1)
        seconds = cycles / p.frequency_hz + (far + near / p.l2_speedup) / memory
        found.append(p.batch_size * seconds)
    ops = GPUOperators(p, tile_at='actual')
    cost = ops.dynamic_squeeze_pool(channels, 8, 8, side, 0.4)
    assert cost.compute + cost.memory == pytest.approx(min(found), rel=1e-12)


# ms per picture of static networks, as published for these constants
PUBLISHED = {
    ('v100', 50): 0.908, ('v100', 101): 1.677, ('tx2', 50): 17.23, ('tx2', 101): 32.24,
}  # fmt: skip


@pytest.mark.parametrize(('device', 'depth'), PUBLISHED)
def test_static_figures(device, depth):
    found = estimate(resnet_spec(depth, 0), build_model(device), whole=False)
    assert found.ms_per_image == pytest.approx(PUBLISHED[device, depth], rel=5e-4)
    whole = estimate(resnet_spec(depth, 0), build_model(device))
    assert whole.parts[0].name == 'stem.conv' and whole.latency > found.latency


def test_dynamic_figures():
    # ms per picture of R101 at density .5
    for device, sides, ms in (
        ('v100', (1, 1, 1, 1), 2.07), ('v100', (4, 4, 2, 1), 1.39),
        ('v100', (8, 4, 7, 1), 1.19), ('tx2', (1, 1, 1, 1), 21.9),
        ('tx2', (4, 4, 2, 1), 21.6), ('tx2', (8, 4, 7, 1), 24.4),
    ):  # fmt: skip
        model = build_model(device)
        found = estimate(resnet_spec(101, sides), model, 0.5, whole=False)
        assert found.ms_per_image == pytest.approx(ms, abs=0.051 if ms > 10 else 0.0051)


OPERATORS = {
    'conv': lambda ops, r: ops.conv(48, 40, 14, 14, 3),
    'add': lambda ops, r: ops.add(48, 14, 14),
    'linear': lambda ops, r: ops.linear(48, 100),
    'avg_pool': lambda ops, r: ops.avg_pool(48, 14, 14, 1, 1),
    'static_squeeze_pool': lambda ops, r: ops.squeeze_pool(48, 14, 14),
    'dynamic_conv': lambda ops, r: ops.dynamic_conv(48, 40, 14, 14, 3, 2, r),
    'masker_conv1': lambda ops, r: ops.masker_conv1(48, 40, 14, 14, 2, r),
    'scatter_add': lambda ops, r: ops.scatter_add(48, 14, 14, 2, r),
    'gather': lambda ops, r: ops.gather(48, 14, 14, 2, r, 1),
    'squeeze_pool': lambda ops, r: ops.dynamic_squeeze_pool(48, 14, 14, 2, r),
}
profiles = st.builds(
    replace,
    st.just(MINE),
    num_pe=st.integers(1, 90),
    lanes=st.sampled_from([32, 64, 128]),
    bandwidth=st.floats(1e10, 1e12),
    l2_speedup=st.sampled_from([1.0, 4.0]),
    batch_size=st.sampled_from([1, 16]),
    mode=st.sampled_from(['add', 'max']),
)


@pytest.mark.parametrize('name', OPERATORS)
@settings(max_examples=15, deadline=None)
@given(profile=profiles, factor=st.floats(1.01, 4), r=st.floats(0, 1))
def test_more_bandwidth_is_never_slower(name, profile, factor, r):
    faster = replace(profile, bandwidth=factor * profile.bandwidth)
    slow, fast = (OPERATORS[name](GPUOperators(p), r) for p in (profile, faster))
    assert fast.latency <= slow.latency * (1 + 1e-12)


@pytest.mark.parametrize('tile_at', ['actual', 'mean'])
@pytest.mark.parametrize('name', list(OPERATORS)[5:])
@settings(max_examples=15, deadline=None)
@given(profile=profiles, r=st.tuples(st.floats(0, 1), st.floats(0, 1)))
def test_more_density_is_never_faster(name, tile_at, profile, r):
    ops = GPUOperators(profile, tile_at=tile_at)
    low, high = (OPERATORS[name](ops, share).latency for share in sorted(r))
    assert low <= high * (1 + 1e-12)


def test_unfused_blocks_have_kernels_of_their_own():
    block = resnet_spec(50).blocks[1]
    fused, unfused = (GPULatencyModel(MINE, fused=f) for f in (True, False))
    net = replace(resnet_spec(50), blocks=(block,))
    names = [n for n, _ in estimate(net, unfused, 0.5, whole=False).parts[0].ops]
    assert names == ['gate + conv1', 'gather', 'conv2', 'conv3', 'scatter', 'add']
    assert (
        estimate(net, fused, 0.5, whole=False).latency
        < estimate(net, unfused, 0.5, whole=False).latency
    )


def test_layer_gates_scale_the_static_block():
    block = replace(resnet_spec(50).blocks[1], gate='layer')
    net = replace(resnet_spec(50), blocks=(block,))
    model = GPULatencyModel(MINE)
    zero, half, full = (
        estimate(net, model, r, whole=False).latency for r in (0, 0.5, 1)
    )
    assert half - zero == pytest.approx(full - half, rel=1e-9)
    part = estimate(net, model, 1.0, whole=False).parts[0]
    assert full - zero == pytest.approx(part.static, rel=1e-9)


def test_regnets_have_squeeze_and_excitation():
    net = regnet_spec('regnety_400mf')
    found = estimate(net, build_model('tx2'), 0.5, whole=False)
    assert len(found.parts) == 16
    assert sum(name.startswith('SE') for name, _ in found.parts[0].ops) == 4


@pytest.mark.parametrize('device', SCALING_TILES)
def test_scaling_takes_the_published_tiles(device, monkeypatch):
    tiles = []

    def spy(*args):
        found = search(*args)
        tiles.append(found[1])
        return found

    monkeypatch.setattr('dynnet.latency.gpu.search', spy)
    build_model(device).ops.channel_scale(208, 14, 14)
    assert tiles == [SCALING_TILES[device]]


def test_the_tile_of_the_mean_density_breaks_monotony():
    """TX2, a little more bandwidth: another tile, worse at the density at hand."""
    tx2 = load_profile('tx2')
    seconds = {}
    for tile_at in ('mean', 'actual'):
        seconds[tile_at] = [
            GPUOperators(
                replace(tx2, bandwidth=factor * tx2.bandwidth), tile_at=tile_at
            )
            .dynamic_conv(256, 1024, 14, 14, 1, 7, 0.05, gathered=True)
            .latency
            for factor in (1.05, 1.1)
        ]
    assert seconds['mean'][1] > 1.5 * seconds['mean'][0]
    assert seconds['actual'][1] < seconds['actual'][0]
