"""What backends do on a CPU, counted: products, traffic and bookkeeping.

Each function counts the operators of a backend as ``dynnet.ops.sparse_conv`` runs them;
:class:`~dynnet.latency.cpu_model.CPULatencyModel` turns counts into seconds.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

from .density import Density
from .network import BlockSpec, LayerSpec

FLOAT = 4
# Register tile of the C++ kernel: rows by columns.
TILE_ROWS, TILE_COLUMNS = 6, 64


@dataclass
class Work:
    """Work of an operator.

    Attributes:
        name: Of the operator.
        pointwise_macs: MACs of 1 x 1 products, as executed (padding included).
        window_macs: MACs of 3 x 3 products; additions of a pooling.
        weights: Bytes of weights.
        traffic: (bytes moved, bytes that they are spread over), several.
        positions: Positions of masks that are looked at.
        taps: Input rows of 3 x 3 windows that are looked up; numbers that a maximum is
            taken of.
        calls: Calls.
    """

    name: str
    pointwise_macs: float = 0.0
    window_macs: float = 0.0
    weights: float = 0.0
    traffic: list[tuple[float, float]] = field(default_factory=list)
    positions: float = 0.0
    taps: float = 0.0
    calls: float = 0.0

    def move(self, size: float, within: float | None = None) -> 'Work':
        """Add bytes that are moved, spread over ``within`` bytes (as many)."""
        self.traffic.append((size, size if within is None else within))
        return self


@dataclass(frozen=True)
class _Sizes:
    """Sizes of a block for a batch, in rows (positions) and bytes."""

    block: BlockSpec
    batch: int
    density: Density

    @property
    def rows_in(self) -> int:
        return self.batch * math.prod(self.block.in_size)

    @property
    def rows_out(self) -> int:
        return self.batch * math.prod(self.block.out_size)

    @property
    def active(self) -> float:
        return self.rows_out * self.density.active

    @property
    def needed(self) -> float:
        dilated = self.density.dilated
        return self.rows_in * (self.density.active if dilated is None else dilated)

    @property
    def map_in(self) -> int:
        return self.rows_in * self.block.in_channels * FLOAT

    @property
    def map_out(self) -> int:
        return self.rows_out * self.block.out_channels * FLOAT


def _padded(count: float, step: int) -> int:
    return math.ceil(count / step) * step


def conv_owner(layer: LayerSpec) -> str:
    """Whose constants price a convolution.

    Products of few channels do not reach the speed of large ones: a convolution by
    channel is vector arithmetic, one of small groups pads them to a vector.
    """
    if layer.groups == 1:
        return 'dense'
    return 'depthwise' if layer.groups == layer.in_channels else 'grouped'


def dense_conv(layer: LayerSpec, batch: int, name: str = '') -> Work:
    """Count an eager convolution, whose weights oneDNN re-orders in every call."""
    rows_in, rows_out = (batch * math.prod(s) for s in (layer.in_size, layer.out_size))
    size_in = rows_in * layer.in_channels * FLOAT
    size_out = rows_out * layer.out_channels * FLOAT
    if layer.kernel == 1:
        size_in //= layer.stride**2
    macs = batch * layer.macs
    spatial = layer.kernel > 1
    work = Work(
        name or layer.name,
        pointwise_macs=0 if spatial else macs,
        window_macs=macs if spatial else 0,
        weights=layer.weight_bytes,
        calls=1,
    )
    return work.move(size_in + size_out)


def dense_block(block: BlockSpec, batch: int, density: Density) -> list[Work]:
    """Count the reference: whole maps, then the mask, the sum and ReLU."""
    sizes = _Sizes(block, batch, density)
    convs = block.convs()
    works = []
    for layer, rows in zip(convs, (sizes.rows_in, sizes.rows_out, sizes.rows_out)):
        work = dense_conv(layer, batch)
        if layer.name != 'conv3':  # ReLU in place
            size = rows * layer.out_channels * FLOAT
            work.move(2 * size, size)
        works.append(work)
    if block.projection:
        works.append(dense_conv(convs[3], batch))
    # masked_fill and ReLU rewrite the map, the sum reads another one
    end = Work('mask + add').move(7 * sizes.map_out, 2 * sizes.map_out)
    return [*works, end]


def cpp_block(block: BlockSpec, batch: int, density: Density) -> list[Work]:
    """Count the C++ kernel: indirect products on register tiles, no gathered copies."""
    sizes = _Sizes(block, batch, density)
    convs = block.convs()
    active, needed = sizes.active, sizes.needed
    taps = 9 * active
    works = [Work('plan', positions=sizes.rows_in + sizes.rows_out, taps=taps, calls=1)]
    for layer, rows in zip(convs, (needed, active, active)):
        macs = (
            _padded(rows, TILE_ROWS)
            * layer.in_channels
            * layer.kernel**2
            * _padded(layer.out_channels, TILE_COLUMNS)
        )
        spatial = layer.kernel > 1
        works.append(
            Work(
                layer.name,
                pointwise_macs=0 if spatial else macs,
                window_macs=macs if spatial else 0,
                weights=layer.weight_bytes if rows else 0,
            )
        )
    first, _, last = works[1:]
    mid = block.mid_channels * FLOAT
    first.move(needed * (block.in_channels * FLOAT + mid), sizes.map_in)
    last.move(2 * active * block.out_channels * FLOAT, sizes.map_out)
    if block.projection:
        layer = convs[3]
        work = Work('projection', batch * layer.macs, weights=layer.weight_bytes)
        size = sizes.map_in // block.stride**2 + sizes.map_out
        works.append(work.move(size, sizes.map_in + sizes.map_out))
    return works


def rows_block(block: BlockSpec, batch: int, density: Density) -> list[Work]:
    """Count gathered rows, products and scattered rows (``torch``, ``mkldnn``)."""
    sizes = _Sizes(block, batch, density)
    convs = block.convs()
    active, needed = sizes.active, sizes.needed
    inner, outer = block.in_channels * FLOAT, block.out_channels * FLOAT
    mid = block.mid_channels * FLOAT
    plan = Work('plan', positions=sizes.rows_in + sizes.rows_out, calls=1)
    plan.taps = 9 * active
    gather = Work('gather').move(2 * needed * inner, sizes.map_in)
    gather.move(2 * 9 * active * mid, 9 * active * mid)
    works = [plan, gather]
    for layer, rows in zip(convs, (needed, active, active)):
        macs = rows * layer.macs / math.prod(layer.out_size)
        spatial = layer.kernel > 1
        work = Work(
            layer.name,
            pointwise_macs=0 if spatial else macs,
            window_macs=macs if spatial else 0,
            weights=layer.weight_bytes if rows else 0,
        )
        wide = layer.in_channels * layer.kernel**2 * FLOAT
        work.move(rows * (wide + 3 * layer.out_channels * FLOAT))
        works.append(work)
    scatter = Work('scatter').move(6 * active * outer, sizes.map_out)
    works.append(scatter)
    if block.projection:
        # An eager convolution; the sum's ReLU then passes over the whole map.
        works.append(dense_conv(convs[3], batch))
        works[-1].move(2 * sizes.map_out, sizes.map_out)
    return works


BLOCKS: dict[str, Callable[[BlockSpec, int, Density], list[Work]]] = dict(
    cpp=cpp_block, mkldnn=rows_block, torch=rows_block, dense=dense_block
)


def gate_work(block: BlockSpec, batch: int) -> Work:
    """Count a spatial gate: pool to the grid, one 1 x 1 convolution, compare."""
    rows = batch * math.prod(block.in_size)
    cells = batch * math.prod(block.cells)
    work = Work('gate', 2 * cells * block.in_channels, positions=cells, calls=1)
    if block.cells == block.in_size:
        return work.move(rows * block.in_channels * FLOAT)
    work.window_macs = rows * block.in_channels
    return work.move((rows + 2 * cells) * block.in_channels * FLOAT)


def layer_work(layer: LayerSpec, batch: int) -> Work:
    """Count a static layer other than a convolution."""
    size_in, size_out = (
        batch * math.prod(size) * channels * FLOAT
        for size, channels in (
            (layer.in_size, layer.in_channels),
            (layer.out_size, layer.out_channels),
        )
    )
    work = Work(layer.name or layer.kind, calls=1)
    if layer.kind == 'linear':
        work.pointwise_macs, work.weights = batch * layer.macs, layer.weight_bytes
    if layer.kind == 'max_pool':  # every output looks at its whole window
        work.taps = size_out / FLOAT * layer.kernel**2
    if layer.kind == 'avg_pool':
        work.window_macs = size_in / FLOAT
    if layer.kind == 'add':
        size_in *= 2
    if layer.kind == 'pointwise':  # in place
        return work.move(size_in + size_out, size_in)
    return work.move(size_in + size_out)
