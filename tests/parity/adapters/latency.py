"""The published latency predictor: operators and networks on five devices."""

import numpy as np

from dynnet.latency import (
    GPULatencyModel,
    GPUOperators,
    GPUProfile,
    estimate,
    regnet_spec,
    resnet_spec,
)

from . import Case, Result, adapter

COLUMNS = ('latency', 'compute', 'memory')


def profile_of(name: str, published: dict) -> GPUProfile:
    num_pe, lanes, frequency, bandwidth = published['args']
    return GPUProfile(
        name,
        int(num_pe),
        int(lanes),
        frequency,
        bandwidth,
        published.get('batch_size', 1),
        published.get('l2_speed_frac', 4),
        tile_at='mean',
    )


def price(ops: GPUOperators, op: str, k: dict):
    """One operator, by the published call."""
    size = k.get('h'), k.get('w')
    patches = k.get('granul_size'), k.get('density')
    if op == 'simulate_conv':
        shape = k['cin'], k['cout'], k['inh'], k['inw'], k['ks']
        return ops.conv(*shape, k.get('stride', 1), k.get('groups', 1))
    if op == 'simulate_dynamic_conv':
        shape = k['cin'], k['cout'], k['inh'], k['inw'], k['ks']
        steps = k.get('stride', 1), k.get('groups', 1)
        return ops.dynamic_conv(*shape, *patches, *steps, not k['with_indexing'])
    if op == 'simulate_masker_conv1':
        fuse = False if k.get('no_fuse') else None
        return ops.masker_conv1(k['cin'], k['cout'], *size, *patches, fuse)
    if op == 'simulate_scatter_add':
        return ops.scatter_add(k['c'], *size, *patches)
    if op == 'simulate_gather':
        return ops.gather(k['c'], *size, *patches, k.get('granul_size_pad', 0))
    if op == 'simulate_scatter':
        return ops.scatter(k['c'], *size, *patches)
    if op == 'simulate_add':
        return ops.add(k['c'], *size)
    if op == 'simulate_fc':
        return ops.linear(k['cin'], k['cout'])
    if op == 'simulate_avg_pool':
        return ops.avg_pool(k['c'], *size, k['oh'], k['ow'])
    raise KeyError(op)


# Relative tolerances. Networks: of tiles that are equally fast at the mean number of
# patches, the published code takes the first in the order of a Python set.
EXACT, NET_EXACT = 1e-9, 1e-3


def squeeze_excite(ops: GPUOperators, op: str, k: dict) -> float:
    size = k['c'], k['h'], k['w'], k['squeeze_channels']
    if op == 'simulate_se':
        costs = ops.squeeze_excite(*size)
    else:
        costs = ops.dynamic_squeeze_excite(*size, k['granul_size'], k['density'])
    return sum(cost.latency for cost in costs)


@adapter('latency_predictor')
def run(case: Case) -> Result:
    kwargs = case.meta['kwargs']
    hardware = {n: profile_of(n, p) for n, p in kwargs['hardware'].items()}
    if 'nets' in kwargs:
        return networks(case, hardware)
    columns = [COLUMNS.index(name) for name in kwargs['columns']]
    values = []
    for point in kwargs['points']:
        ops, op = GPUOperators(hardware[point['hw']]), point['op']
        if op.endswith('_se'):
            row = squeeze_excite(ops, op, point['kwargs']), np.nan, np.nan
        else:
            cost = price(ops, op, point['kwargs'])
            row = cost.latency, cost.compute, cost.memory
        values.append([row[column] for column in columns])
    arrays = dict(values=(values, EXACT, 1e-18))
    return Result(arrays=arrays, unset={'values'})


ARCHS = {'regnety004': 'regnety_400mf', 'regnety008': 'regnety_800mf'}


def networks(case: Case, hardware: dict[str, GPUProfile]) -> Result:
    totals = []
    for net in case.meta['kwargs']['nets']:
        sides = net.get('S_net') or 0
        if net['arch'].startswith('resnet'):
            spec = resnet_spec(int(net['arch'].removeprefix('resnet')), sides)
        else:
            spec = regnet_spec(ARCHS[net['arch']], sides)
        model = GPULatencyModel(hardware[net['hw']])
        found = estimate(spec, model, net.get('density', 1.0), whole=False)
        totals.append(found.latency)
        # First and second block of each stage; RegNetY's first stage has no second.
        parts = {part.name: part.latency for part in found.parts}
        for i, latency in enumerate(net.get('blocks', ())):
            name = f'layer{i // 2 + 1}.{i % 2}'
            if name in parts:
                np.testing.assert_allclose(parts[name], latency, rtol=NET_EXACT)
    return Result(arrays=dict(latency=(totals, NET_EXACT, 0)))
