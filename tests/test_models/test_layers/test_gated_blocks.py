"""One gated block, gate and all: both test-time modes over everything that varies."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip('mmpretrain')

from mmpretrain.models.backbones.resnet import BasicBlock, Bottleneck
from torch import nn

from dynnet.models.gates import SpatialGate, measure_gates
from dynnet.models.layers.gated_basic_block import GatedBasicBlock
from dynnet.models.layers.gated_bottleneck import GatedBottleneck
from dynnet.ops.sparse_conv import unavailable
from dynnet.utils.errors import ConfigError

BACKENDS = [n for n in ('cpp', 'mkldnn', 'torch', 'dense') if not unavailable(n)]


def make(kind: type, stride: int) -> nn.Module:
    """A block with a gate that decides by the first channel's sign alone."""
    torch.manual_seed(0)
    before, after = 12, 12 if stride == 1 else 20
    downsample = None
    if stride != 1:
        downsample = nn.Sequential(
            nn.Conv2d(before, after, 1, stride, bias=False), nn.BatchNorm2d(after)
        )
    plain = kind(before, after, stride=stride, downsample=downsample)
    for module in plain.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.bias, 0, 0.3)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    gated = GatedBottleneck if kind is Bottleneck else GatedBasicBlock
    block = gated(plain, SpatialGate(before))
    block.gate.conv.weight.data.zero_()
    block.gate.conv.weight.data[0, 0] = 1
    block.gate.conv.bias.data.zero_()
    return block.eval()


MADE = {
    (kind, stride): make(kind, stride)
    for kind in (Bottleneck, BasicBlock)
    for stride in (1, 2)
}


@given(
    kind=st.sampled_from([Bottleneck, BasicBlock]),
    stride=st.sampled_from([1, 2]),
    granularity=st.integers(1, 9),
    batch=st.integers(1, 8),
    size=st.tuples(st.integers(1, 21), st.integers(1, 21)),
    density=st.floats(0, 1),
    backend=st.sampled_from([*BACKENDS, 'auto']),
    seed=st.integers(0, 10**6),
)
@settings(max_examples=300, deadline=None)
def test_execute_equals_simulate(
    kind, stride, granularity, batch, size, density, backend, seed
):
    block = MADE[kind, stride]
    block.gate.granularity = granularity
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(batch, 12, *size, generator=generator).relu()
    # Far from ties whatever the order of sums: 1 where a window is to be kept.
    h, w = (-(-n // stride) for n in size)
    grid = block.gate.grid(h, w)
    keep = torch.rand(batch, 1, *grid, generator=generator) < density
    x[:, :1] = nn.functional.interpolate(2.0 * keep - 1, size=size)
    with torch.inference_mode():
        block.mode = 'simulate'
        with measure_gates() as simulated:
            expected = block(x)
        block.mode, block.backend = 'execute', backend
        with measure_gates() as executed:
            out = block(x)
    ours, theirs = executed.records[0].gate, simulated.records[0].gate
    assert torch.equal(ours.coarse, theirs.coarse)
    assert torch.equal(executed.sample_macs, simulated.sample_macs)
    assert ours.coarse.shape == keep.shape
    if grid == (h, w) and stride == 1:
        assert torch.equal(ours.coarse > 0.5, keep)
    assert out.shape == expected.shape
    assert (out - expected).abs().max() <= 1e-4 * expected.abs().max()


def test_refuses_what_it_cannot_gate():
    with pytest.raises(ConfigError, match='Conv2d is no residual block'):
        GatedBottleneck(nn.Conv2d(3, 3, 1), SpatialGate(3))
    with pytest.raises(ConfigError, match='Bottleneck is no basic block'):
        GatedBasicBlock(Bottleneck(8, 8), SpatialGate(8))


def test_no_latency_is_predicted_for_basic_blocks():
    from dynnet.latency.describe import describe_block

    block = MADE[BasicBlock, 1]
    with pytest.raises(ConfigError, match='layer1.0 is a GatedBasicBlock: latency is'):
        describe_block('layer1.0', 0, block, torch.zeros(1, 12, 8, 8))
