"""Measure a machine: micro-benchmarks, and blocks, gates and layers at random sizes."""

import os
import platform
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from dynnet.ops.sparse_conv import (
    FoldedBlock,
    FoldedConv,
    sparse_block,
    unavailable,
)

from .cpu_profile import BackendProfile, CPUProfile
from .cpu_work import conv_owner
from .density import Density
from .dilation import dilated_share, make_masks
from .fitting import Timing
from .network import BlockSpec, LayerSpec

BACKENDS = ('dense', 'torch', 'mkldnn', 'cpp')
# Bottlenecks of ResNets at 224: in, mid, out side, stride, projection
RESNET_BLOCKS = (
    (64, 64, 56, 1, True), (256, 64, 56, 1, False),
    (256, 128, 28, 2, True), (512, 128, 28, 1, False),
    (512, 256, 14, 2, True), (1024, 256, 14, 1, False),
    (1024, 512, 7, 2, True), (2048, 512, 7, 1, False),
)  # fmt: skip


class Stopwatch:
    """Times calls: CPU time with one thread, wall clock with more.

    Args:
        threads: Threads of torch.
        rounds: Samples, of which the median counts.
        least: Seconds of a sample, at least: short calls are repeated.
    """

    def __init__(self, threads: int = 1, rounds: int = 5, least: float = 0.02) -> None:
        self.threads, self.rounds, self.least = threads, rounds, least
        self.clock = time.process_time if threads == 1 else time.perf_counter

    def __call__(self, call: Callable[[], object]) -> float:
        """Return the seconds of one call."""
        call()
        once = max(1e-7, self._time(call, 1))
        repeats = max(1, round(self.least / once))
        return median(self._time(call, repeats) for _ in range(self.rounds))

    def _time(self, call: Callable[[], object], repeats: int) -> float:
        start = self.clock()
        for _ in range(repeats):
            call()
        return (self.clock() - start) / repeats


# --- the machine


def cache_sizes() -> tuple[int, int, int]:
    """Bytes of the data caches, level 1 to 3; common ones where unknown."""
    sizes = {1: 32 << 10, 2: 1 << 20, 3: 16 << 20}
    for entry in Path('/sys/devices/system/cpu/cpu0/cache').glob('index*'):
        try:
            if (entry / 'type').read_text().strip() == 'Instruction':
                continue
            text = (entry / 'size').read_text().strip()
            scale = {'K': 1 << 10, 'M': 1 << 20}[text[-1]]
            sizes[int((entry / 'level').read_text())] = int(text[:-1]) * scale
        except (OSError, ValueError, KeyError):
            continue
    return sizes[1], sizes[2], sizes[3]


def _cpuinfo(name: str, default: str) -> str:
    try:
        lines = Path('/proc/cpuinfo').read_text().splitlines()
    except OSError:
        return default
    return next(
        (i.split(':', 1)[1].strip() for i in lines if i.startswith(name)), default
    )


def measure_machine(watch: Stopwatch) -> CPUProfile:
    """Run the micro-benchmarks: products, copies, nothing.

    Args:
        watch: The stopwatch.

    Returns:
        A profile whose backends' constants are still 1.
    """
    flags = _cpuinfo('flags', '')
    lanes = 16 if 'avx512f' in flags else 8 if 'avx2' in flags else 4
    clock = float(_cpuinfo('cpu MHz', '2500')) * 1e6
    side = 1024
    a, b, out = torch.rand(side, side), torch.rand(side, side), torch.empty(side, side)
    flops = 2 * side**3 / watch(lambda: torch.mm(a, b, out=out))
    levels = cache_sizes()

    def copy(size: float) -> float:
        source = torch.rand(int(size) // 8)
        target = torch.empty_like(source)
        return 8 * len(source) / watch(lambda: target.copy_(source))

    # Twice the last level, or more: every call reads it from memory.
    large = torch.rand(max(1, 2 * levels[2] // (4 * 4096)) + 1024, 4096)
    vector = torch.rand(4096)
    read = 4 * large.numel() / watch(lambda: torch.mv(large, vector))
    small = torch.rand(8)
    dispatch = watch(lambda: torch.relu(small))
    launch = 0.0
    if watch.threads > 1:  # just above the size from which torch starts threads
        size = 40000
        both = watch(lambda: torch.relu(a.view(-1)[:size]))
        launch = max(0.0, both - dispatch - 8 * size / copy(8 * size))
    ones = BackendProfile(1.0, 1.0, 1.0, 1.0)
    return CPUProfile(
        name=_cpuinfo('model name', platform.processor() or 'CPU'),
        cores=os.cpu_count() or 1,
        simd_lanes=lanes,
        frequency_hz=clock,
        flops_per_cycle=flops / clock / watch.threads,
        l1_bytes=levels[0],
        l2_bytes=levels[1],
        l3_bytes=levels[2],
        l2_bandwidth=copy(levels[1] / 2),
        l3_bandwidth=copy(levels[2] / 4),
        bandwidth=copy(min(4 * levels[2], 256 << 20)),
        read_bandwidth=read,
        dispatch_s=dispatch,
        thread_launch_s=launch,
        backends=dict.fromkeys(('dense', 'gate', 'layer'), ones),
        threads=watch.threads,
    )


# --- blocks


@dataclass(frozen=True)
class Point:
    """A block to measure.

    Attributes:
        block: Its sizes and granularity.
        batch: Pictures.
        share: Share of active cells.
        kind: Mask generator.
    """

    block: BlockSpec
    batch: int
    share: float
    kind: str


def random_points(count: int, seed: int = 0) -> list[Point]:
    """Draw blocks: mostly ResNets' own, some of other widths and map sizes.

    Args:
        count: Number of blocks.
        seed: Of the random numbers.
    """
    rng = random.Random(seed)
    points = []
    while len(points) < count:
        if rng.random() < 0.7:
            inputs, mid, side, stride, projection = rng.choice(RESNET_BLOCKS)
        else:
            mid = rng.choice((64, 96, 128, 192, 256, 384))
            side = rng.choice((7, 10, 14, 20, 28, 40, 56))
            side = side if mid * side <= 128 * 56 else 14
            stride = rng.choice((1, 1, 1, 2))
            projection = stride == 2
            inputs = (2 if projection else 4) * mid
        granularity = rng.choice([s for s in (1, 1, 2, 2, 4, 4, 7, 8) if s <= side])
        block = BlockSpec(
            f'point{len(points)}', 0, inputs, mid, 4 * mid, (side, side), stride,
            projection=projection, granularity=granularity,
        )  # fmt: skip
        share = round(rng.uniform(0.1, 1.0), 2)
        batch = rng.choice((1, 1, 2, 4, 8))
        kind = rng.choice(('blob', 'blob', 'random'))
        if round(share * np.prod(block.cells)):
            points.append(Point(block, batch, share, kind))
    return points


def random_conv(layer: LayerSpec, generator: torch.Generator) -> FoldedConv:
    """A convolution with random weights."""
    shape = (layer.out_channels, layer.in_channels // layer.groups)
    weight = torch.randn(*shape, layer.kernel, layer.kernel, generator=generator)
    weight = weight / weight[0].numel() ** 0.5
    bias = 0.1 * torch.randn(layer.out_channels, generator=generator)
    return FoldedConv(
        weight.contiguous(memory_format=torch.channels_last),
        bias,
        layer.stride,
        layer.kernel // 2,
        groups=layer.groups,
    )


def random_block(block: BlockSpec, generator: torch.Generator) -> FoldedBlock:
    """A block with random weights."""
    convs = [random_conv(layer, generator) for layer in block.convs()]
    return FoldedBlock(tuple(convs[:3]), convs[3] if block.projection else None)


def random_map(
    batch: int, channels: int, size: tuple[int, int], generator: torch.Generator
) -> Tensor:
    """A map as a block gets it: not negative, channels last."""
    x = torch.randn(batch, channels, *size, generator=generator).relu_()
    return x.contiguous(memory_format=torch.channels_last)


def mask_density(masks: np.ndarray, block: BlockSpec) -> Density:
    """The shares that masks (B, h, w) make a block compute."""
    rows, cols = (
        np.arange(size) * cells // size
        for size, cells in zip(block.out_size, masks.shape[1:])
    )
    active = float(masks[:, rows][:, :, cols].mean())
    return Density(active, dilated_share(masks, block.out_size, block.stride))


def measure_point(
    point: Point, watch: Stopwatch, seed: int, backends: tuple[str, ...] = BACKENDS
) -> list[Timing]:
    """Time a block on every backend, twice.

    Args:
        point: The block.
        watch: The stopwatch.
        seed: Of weights, input and masks.
        backends: Which backends.
    """
    generator = torch.Generator().manual_seed(seed)
    block, batch = point.block, point.batch
    folded = random_block(block, generator)
    masks = make_masks(batch, block.cells, point.share, point.kind, seed)
    density, mask = mask_density(masks, block), torch.from_numpy(masks)
    x = random_map(batch, block.in_channels, block.in_size, generator)
    calls = {}
    with torch.inference_mode():
        for backend in backends:
            own = x.clone(memory_format=torch.channels_last)
            calls[backend] = lambda own=own, backend=backend: sparse_block(
                own, mask, folded, backend, inplace=True
            )
        first = {name: watch(call) for name, call in calls.items()}
        again = {name: watch(call) for name, call in calls.items()}
    return [
        Timing(name, block, batch, first[name], density, again[name]) for name in calls
    ]


def measure_gate(point: Point, watch: Stopwatch, seed: int) -> Timing:
    """Time the gate of a block, as :func:`run_gate` does it."""
    generator = torch.Generator().manual_seed(seed)
    block, batch = point.block, point.batch
    x = random_map(batch, block.in_channels, block.in_size, generator)
    weight = torch.randn(2, block.in_channels, 1, 1, generator=generator)
    bias = torch.zeros(2)
    with torch.inference_mode():
        times = [watch(lambda: run_gate(x, weight, bias, block.cells)) for _ in '12']
    return Timing('gate', block, batch, times[0], None, times[1])


def run_gate(x: Tensor, weight: Tensor, bias: Tensor, cells: tuple[int, int]) -> Tensor:
    """Decide as a spatial gate does: pool, 1 x 1 convolution, compare."""
    if cells != tuple(x.shape[2:]):
        x = F.adaptive_avg_pool2d(x, cells)
    logits = F.conv2d(x, weight, bias)
    return logits[:, 0] >= logits[:, 1]


# --- layers


def random_layers(count: int, seed: int = 0) -> list[tuple[LayerSpec, int]]:
    """Draw static layers with a batch size each."""
    rng = random.Random(seed)
    layers = []
    kinds = 'conv', 'max_pool', 'avg_pool', 'linear', 'pointwise', 'add'
    kinds = *kinds, 'grouped', 'depthwise'
    for i in range(count):
        kind = kinds[i % len(kinds)]
        channels = rng.choice((32, 64, 128, 256))
        side = rng.choice((14, 28, 56, 112))
        size = (side, side)
        batch = rng.choice((1, 2, 4))
        if kind == 'conv':  # stems too
            inputs = rng.choice((3, 64, 128))
            kernel, stride = rng.choice(((7, 2), (3, 2), (3, 1), (1, 1)))
            half = (side // stride, side // stride)
            layer = LayerSpec(kind, inputs, 64, size, half, kernel, stride)
        elif kind in ('grouped', 'depthwise'):  # RegNetY's and MobileNet's
            stride = rng.choice((1, 1, 2))
            channels, side = rng.choice(
                ((48, 56), (104, 28), (208, 14), (440, 7))
                if kind == 'grouped'
                else ((32, 112), (96, 56), (144, 56), (192, 28), (384, 14), (960, 7))
            )
            out = (-(-side // stride),) * 2
            groups = channels // 8 if kind == 'grouped' else channels
            layer = LayerSpec(
                'conv', channels, channels, (side, side), out, 3, stride, groups
            )
        elif kind == 'max_pool':
            layer = LayerSpec(kind, channels, channels, size, (side // 2,) * 2, 3, 2)
        elif kind == 'avg_pool':
            channels, side = rng.choice(((2048, 7), (512, 14), (1024, 7), (256, 28)))
            layer = LayerSpec(kind, channels, channels, (side, side))
        elif kind == 'linear':
            inputs, outputs = rng.choice((512, 1024, 2048)), rng.choice((10, 100, 1000))
            layer = LayerSpec(kind, inputs, outputs)
        else:
            layer = LayerSpec(kind, channels, channels, size, size)
        layers.append((layer, batch))
    return layers


def layer_call(
    layer: LayerSpec, batch: int, generator: torch.Generator
) -> Callable[[Tensor], Tensor]:
    """How a static layer runs on a map (B, C, H, W), or on rows for ``'linear'``."""
    if layer.kind == 'conv':
        return random_conv(layer, generator).dense
    if layer.kind == 'max_pool':
        return lambda x: F.max_pool2d(x, layer.kernel, layer.stride, layer.kernel // 2)
    if layer.kind == 'avg_pool':
        return lambda x: x.mean((2, 3))
    if layer.kind == 'linear':
        weight = torch.randn(layer.out_channels, layer.in_channels, generator=generator)
        return lambda x: F.linear(x, weight)
    if layer.kind == 'add':
        return lambda x: x + x
    return lambda x: x.relu_()


def measure_layer(layer: LayerSpec, batch: int, watch: Stopwatch, seed: int) -> Timing:
    """Time a static layer, twice."""
    generator = torch.Generator().manual_seed(seed)
    x = random_map(batch, layer.in_channels, layer.in_size, generator)
    if layer.kind == 'linear':
        x = x.flatten(1)
    call = layer_call(layer, batch, generator)
    with torch.inference_mode():
        first, again = (watch(lambda: call(x)) for _ in range(2))
    backend = conv_owner(layer) if layer.kind == 'conv' else 'layer'
    return Timing(backend, layer, batch, first, None, again)


def measure_operators(
    count: int, watch: Stopwatch, seed: int = 0
) -> Iterator[list[Timing]]:
    """Time random blocks on all backends, their gates and random layers.

    Args:
        count: Number of blocks.
        watch: The stopwatch.
        seed: Of all random numbers.

    Yields:
        The timings of one block with its gate and a layer.
    """
    torch.set_num_threads(watch.threads)
    backends = tuple(name for name in BACKENDS if unavailable(name) is None)
    layers = random_layers(count, seed)
    for i, point in enumerate(random_points(count, seed)):
        timings = measure_point(point, watch, seed + i, backends)
        timings.append(measure_gate(point, watch, seed + i))
        timings.append(measure_layer(*layers[i], watch, seed + i))
        yield timings
