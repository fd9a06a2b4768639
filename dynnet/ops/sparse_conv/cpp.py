"""The C++ backend: indirect matrix products with bias, residual and ReLU at the end."""

import ctypes
from ctypes import c_int64, c_void_p
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from ..build import switched_off
from . import library
from .folded import FoldedBlock, FoldedConv
from .problem import Problem, map_of, rows_of

# Row numbers are 32-bit in the kernels.
MAX_ROWS = 2**31 - 1


class _Conv(ctypes.Structure):
    _fields_ = [('w', c_void_p), ('bias', c_void_p)] + [
        (name, c_int64)
        for name in ('inputs', 'outputs', 'kernel', 'stride', 'dilation')
    ]


class _Block(ctypes.Structure):
    _fields_ = [
        ('convs', c_int64),
        ('conv', _Conv * 3),
        ('has_shortcut', c_int64),
        ('shortcut', _Conv),
        ('bias_sum', c_void_p),
    ]


def unavailable(problem: Problem | None = None) -> str | None:
    """Return why the backend cannot run (this problem), or None.

    Compiles the library at the first call unless it is there.
    """
    if switched_off():
        return 'switched off by DYNNET_SPARSE_CPP=0'
    if problem is not None:
        x = problem.x
        if x.device.type != 'cpu' or x.dtype != torch.float32:
            return 'only float32 on a CPU'
        if problem.block.groups != 1:
            return 'grouped convolutions only run dense'
        if problem.wants_grad:
            return 'no gradient'
        (hi, wi), (hm, wm) = problem.in_size, problem.mid_size
        if problem.batch * max(hi * wi, hm * wm) > MAX_ROWS:
            return 'a batch of more than 2**31 positions'
    number = library.isa_of(library.forced_isa())
    return number if isinstance(number, str) else None


@lru_cache(maxsize=256)
def _nearest(small: int, large: int) -> Tensor:
    """Return which coarse row each row takes: as torch's ``nearest`` decides."""
    with torch.inference_mode(False):
        rows = torch.arange(small, dtype=torch.float32)[None, None]
        return F.interpolate(rows, size=large, mode='nearest')[0, 0].to(torch.int32)


def pack(conv: FoldedConv) -> tuple[Tensor, Tensor]:
    """Return a convolution's weight and bias as the kernel in use reads them.

    Args:
        conv: Without groups.

    Returns:
        Panels (P, k * k * I, width) and biases (P * width,), zeros beyond O.
    """
    isa = library.isa()
    key = ('cpp', isa)
    if key not in conv.layouts:
        width = library.load().dynnet_panel(isa)
        panels = -(-conv.out_channels // width)
        with torch.inference_mode(False), torch.no_grad():
            # Rows (O, k * k * I), the taps outside.
            rows = conv.weight.permute(0, 2, 3, 1).reshape(conv.out_channels, -1)
            rows = rows.contiguous()
            packed = torch.zeros(panels, rows.shape[1], width)
            bias = torch.zeros(panels * width)
            bias[: conv.out_channels] = conv.bias
        library.call('pack', isa, rows.data_ptr(), *rows.shape, packed.data_ptr())
        conv.layouts[key] = packed, bias
    return conv.layouts[key]


def _descriptor(conv: FoldedConv) -> _Conv:
    weight, bias = pack(conv)
    return _Conv(
        weight.data_ptr(),
        bias.data_ptr(),
        conv.in_channels,
        conv.out_channels,
        conv.kernel_size,
        conv.stride,
        conv.dilation,
    )


def _block_descriptor(block: FoldedBlock) -> _Block:
    key = ('cpp', library.isa())
    layouts = block.convs[-1].layouts
    known = layouts.get((key, 'block'))
    if known is not None and known[1] is block:
        return known[0]
    result = _Block(convs=len(block.convs))
    for i, conv in enumerate(block.convs):
        result.conv[i] = _descriptor(conv)
    total = None
    if block.shortcut is not None:
        result.has_shortcut = 1
        result.shortcut = _descriptor(block.shortcut)
        with torch.inference_mode(False), torch.no_grad():
            total = pack(block.convs[-1])[1] + pack(block.shortcut)[1]
        result.bias_sum = total.data_ptr()
    layouts[key, 'block'] = result, block, total
    return result


def run(problem: Problem) -> Tensor:
    """Run a problem in C++."""
    block, x = problem.block, problem.x
    rows = rows_of(x)
    source, source_size, residual = rows, problem.in_size, rows
    if block.pool is not None:
        pooled = block.pool(x)
        source, source_size = rows_of(pooled), tuple(pooled.shape[2:])
        residual = source
    (h, w), batch = problem.out_size, problem.batch
    step = block.shortcut.stride if block.shortcut is not None else 1
    if tuple((n - 1) // step + 1 for n in source_size) != (h, w):
        raise ValueError(
            f'the pooled shortcut of {source_size} does not meet a map of {(h, w)}'
        )
    if block.shortcut is not None:
        out = rows.new_empty(batch * h * w, block.out_channels)
        residual = None
    elif problem.inplace and block.pool is None:
        out = rows
    else:
        out = residual.relu()
    coarse = problem.coarse.contiguous()
    grid = coarse.shape[1:]
    row_map, col_map = _nearest(grid[0], h), _nearest(grid[1], w)
    library.call(
        'block',
        library.isa(),
        ctypes.addressof(_block_descriptor(block)),
        rows.data_ptr(),
        *problem.in_size,
        source.data_ptr(),
        *source_size,
        None if residual is None else residual.data_ptr(),
        out.data_ptr(),
        coarse.data_ptr(),
        *grid,
        row_map.data_ptr(),
        col_map.data_ptr(),
        batch,
        None,
    )
    return map_of(out, batch, problem.out_size)


# The parts, callable alone: for measuring and for other operators.


def plan(problem: Problem) -> tuple[Tensor, Tensor, Tensor]:
    """Return a problem's row lists, as :class:`torch_rows.RowPlan` but 32-bit.

    Returns:
        Active output rows (A,), needed rows of the first convolution's output (N,),
        and taps (A, 9) into the latter, -1 outside of the map.
    """
    coarse = problem.coarse.contiguous()
    (h, w), (hm, wm) = problem.out_size, problem.mid_size
    window = problem.block.convs[1]
    total = problem.batch * h * w
    active = torch.empty(total, dtype=torch.int32)
    needed = torch.empty(problem.batch * hm * wm, dtype=torch.int32)
    taps = torch.empty(total, 9, dtype=torch.int32)
    counts = (c_int64 * 2)()
    grid = coarse.shape[1:]
    row_map, col_map = _nearest(grid[0], h), _nearest(grid[1], w)
    library.call(
        'plan',
        coarse.data_ptr(),
        *grid,
        row_map.data_ptr(),
        col_map.data_ptr(),
        problem.batch,
        h,
        w,
        hm,
        wm,
        window.stride,
        window.dilation,
        active.data_ptr(),
        needed.data_ptr(),
        taps.data_ptr(),
        ctypes.addressof(counts),
    )
    return active[: counts[0]], needed[: counts[1]], taps[: counts[0]]


def product(
    rows: Tensor,
    conv: FoldedConv,
    index: Tensor | None = None,
    relu: bool = False,
    out: Tensor | None = None,
    out_index: Tensor | None = None,
    residual: Tensor | None = None,
) -> Tensor:
    """Multiply rows, found by an index table, by a convolution's matrix.

    Args:
        rows: (R, I), contiguous float32.
        conv: The convolution, k * k = T taps.
        index: (M, T) int32, rows for each result, -1 for zeros; None for 1x1: row m.
        relu: Whether negative results become zero.
        out: (Q, O), contiguous; a new (M, O) when None.
        out_index: (M,) int32, where in ``out`` each result goes; None: row m.
        residual: Shaped as ``out`` (it may be ``out``): added at the same rows.

    Returns:
        ``out``.

    Raises:
        ValueError: A tensor is of another type, shape or memory layout.
    """
    taps = conv.kernel_size**2
    count = len(rows) if index is None else len(index)
    if out is None:
        out = rows.new_empty(count, conv.out_channels)
    for name, tensor, width, kind in (
        ('rows', rows, conv.in_channels, torch.float32),
        ('index', index, taps, torch.int32),
        ('out', out, conv.out_channels, torch.float32),
        ('residual', residual, conv.out_channels, torch.float32),
        ('out_index', out_index, 1, torch.int32),
    ):
        if tensor is not None and (
            tensor.dtype != kind
            or tensor.numel() != len(tensor) * width
            or not tensor.is_contiguous()
        ):
            raise ValueError(f'{name} must be contiguous {kind} rows of {width}')
    if index is None and taps != 1:
        raise ValueError('a 3x3 convolution needs an index')
    if residual is not None and residual.shape != out.shape:
        raise ValueError('residual and out must be shaped alike')
    weight, bias = pack(conv)
    library.call(
        'product',
        library.isa(),
        rows.data_ptr(),
        conv.in_channels,
        None if index is None else index.data_ptr(),
        taps,
        weight.data_ptr(),
        bias.data_ptr(),
        conv.out_channels,
        out.data_ptr(),
        None if out_index is None else out_index.data_ptr(),
        None if residual is None else residual.data_ptr(),
        int(relu),
        count,
    )
    return out


def gate(x: Tensor, weight: Tensor, bias: Tensor, grid: tuple[int, int]) -> Tensor:
    """Pool, score and compare in one pass: a two-logit gate's decisions, fused.

    Sums in another order than pooling and convolution do: a decision may differ where
    the two logits are within rounding (about 1e-5) of each other.

    Args:
        x: (B, C, H, W), float32 on a CPU, without gradient.
        weight: (2, C, 1, 1): of the logit to keep, then of the one to skip.
        bias: (2,).
        grid: (h, w), at most (H, W): windows as adaptive average pooling has them.

    Returns:
        (B, h, w), boolean; ties keep.

    Raises:
        TypeError: Not float32 on a CPU.
        ValueError: Shapes that do not fit.
    """
    if any(t.dtype != torch.float32 or t.device.type != 'cpu' for t in (x, weight)):
        raise TypeError('the fused gate takes float32 on a CPU')
    batch, channels, h, w = x.shape
    if weight.numel() != 2 * channels or not (0 < grid[0] <= h and 0 < grid[1] <= w):
        raise ValueError(
            f'a gate of weight {tuple(weight.shape)} on a grid of {tuple(grid)} does '
            f'not fit maps {tuple(x.shape)}'
        )
    with torch.no_grad():
        difference = (weight[0] - weight[1]).reshape(-1).contiguous()
        offset = float(bias[0] - bias[1])
    rows = rows_of(x)
    out = torch.empty(batch, *grid, dtype=torch.bool)
    library.call(
        'gate',
        library.isa(),
        rows.data_ptr(),
        difference.data_ptr(),
        offset,
        batch,
        h,
        w,
        channels,
        *grid,
        out.data_ptr(),
    )
    return out


def pointwise(rows: Tensor, mask: Tensor, conv: FoldedConv, out: Tensor) -> None:
    """Make ``out`` (B * H * W, O) ``relu(out + mask * conv(rows))``, mask (B, h, w)."""
    mask = mask.contiguous()
    batch, h, w = mask.shape
    row_map, col_map = _nearest(h, h), _nearest(w, w)
    descriptor = _descriptor(conv)
    library.call(
        'pointwise',
        library.isa(),
        ctypes.addressof(descriptor),
        rows.data_ptr(),
        out.data_ptr(),
        mask.data_ptr(),
        h,
        w,
        row_map.data_ptr(),
        col_map.data_ptr(),
        batch,
        h,
        w,
    )
