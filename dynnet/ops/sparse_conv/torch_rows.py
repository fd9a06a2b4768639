"""Rows are gathered, multiplied and scattered by public PyTorch operators.

A map in channels-last memory is a matrix of rows, one per position. The first
convolution runs on the rows that are needed (the dilated mask), the 3x3 one on nine
gathered rows per active position, and the last one's rows are added into the identity.
Any device and floating type; differentiable in ``x`` and in the block's tensors.
"""

from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from .folded import FoldedConv
from .problem import Problem, map_of, rows_of

Linear = Callable[[Tensor, FoldedConv, bool, Tensor | None], Tensor]
"""Multiplies rows (n, K) by a convolution's matrix: (rows, conv, relu, out)."""


@lru_cache(maxsize=64)
def _window(
    out_size: tuple[int, int],
    in_size: tuple[int, int],
    stride: int,
    dilation: int,
    device: torch.device,
) -> Tensor:
    """Return the input positions (H * W, 9) of each output's 3x3 window; -1 outside."""

    def reach(n_out: int, n_in: int) -> Tensor:
        at = torch.arange(n_out)[:, None] * stride
        at = at + torch.arange(-1, 2) * dilation
        return torch.where((at >= 0) & (at < n_in), at, -1)

    y, x = (reach(n_out, n_in) for n_out, n_in in zip(out_size, in_size))
    y, x = y[:, None, :, None], x[None, :, None, :]
    at = torch.where((y >= 0) & (x >= 0), y * in_size[1] + x, -1)
    return at.reshape(-1, 9).to(device)


class RowPlan(NamedTuple):
    """Which rows are computed.

    Attributes:
        active: (A,) rows of the output map, ascending.
        needed: (N,) rows of the first convolution's output map, ascending.
        taps: (A, 9) for each active row, its window as indices into ``needed``; N
            where it reaches outside of the map.
    """

    active: Tensor
    needed: Tensor
    taps: Tensor


def window_rows(
    rows: Tensor,
    conv: FoldedConv,
    out_size: tuple[int, int],
    in_size: tuple[int, int],
) -> Tensor:
    """Return the input rows that output rows of a 3x3 convolution read.

    Args:
        rows: (n,) rows of the output maps of a batch.
        conv: The convolution.
        out_size: Its output map.
        in_size: Its input map.

    Returns:
        (n, 9) rows of the input maps of the batch; -1 outside.
    """
    with torch.inference_mode(False):
        table = _window(out_size, in_size, conv.stride, conv.dilation, rows.device)
    area = out_size[0] * out_size[1]
    at = table.index_select(0, rows % area)
    offset = rows.div(area, rounding_mode='floor') * (in_size[0] * in_size[1])
    return torch.where(at >= 0, at + offset[:, None], -1)


def plan_rows(problem: Problem) -> RowPlan:
    """Find the rows that a problem's active positions need."""
    active = problem.mask.reshape(-1).nonzero()[:, 0]
    at = window_rows(active, problem.block.convs[1], problem.out_size, problem.mid_size)
    # One more place than there are rows: -1 is the last, outside of the map.
    total = problem.batch * problem.mid_size[0] * problem.mid_size[1]
    wanted = torch.zeros(total + 1, dtype=torch.bool, device=active.device)
    wanted[at.reshape(-1)] = True
    needed = wanted[:-1].nonzero()[:, 0]
    place = torch.full_like(wanted, len(needed), dtype=torch.int64)
    place[needed] = torch.arange(len(needed), device=active.device)
    return RowPlan(active, needed, place[at])


def linear(
    rows: Tensor, conv: FoldedConv, relu: bool, out: Tensor | None = None
) -> Tensor:
    """Multiply gathered rows (n, k * k * I) by a convolution's matrix, add its bias.

    Args:
        rows: The rows.
        conv: The convolution.
        relu: Whether negative results become zero.
        out: (n, O), where the result goes; a new tensor when None.

    Returns:
        (n, O).
    """
    if out is None:
        out = torch.addmm(conv.bias, rows, conv.matrix())
        return out.relu() if relu else out
    torch.addmm(conv.bias, rows, conv.matrix(), out=out)
    return out.relu_() if relu else out


def _chunks(total: int, row_bytes: int, workspace: int) -> Iterator[slice]:
    step = max(1, workspace // max(1, row_bytes))
    for start in range(0, total, step):
        yield slice(start, min(total, start + step))


def _first_rows(problem: Problem, rows: Tensor, plan: RowPlan) -> Callable:
    """Return how a slice of the first convolution's input is gathered."""
    conv = problem.block.convs[0]
    if conv.kernel_size == 3:
        padded = torch.cat([rows, rows.new_zeros(1, rows.shape[1])])

        def gather(part: slice) -> Tensor:
            at = window_rows(plan.needed[part], conv, problem.mid_size, problem.in_size)
            at = torch.where(at >= 0, at, len(rows))
            return padded.index_select(0, at.reshape(-1)).view(len(at), -1)

        return gather
    at = plan.needed
    if conv.stride != 1:
        (hm, wm), (hi, wi) = problem.mid_size, problem.in_size
        image = at.div(hm * wm, rounding_mode='floor')
        y = at.div(wm, rounding_mode='floor') % hm
        at = (image * hi + y * conv.stride) * wi + at % wm * conv.stride
    return lambda part: rows.index_select(0, at[part])


def run(problem: Problem, linear: Linear = linear) -> Tensor:
    """Run a problem; ``linear`` multiplies the gathered rows."""
    block, x = problem.block, problem.x
    if block.groups != 1:
        raise ValueError('grouped convolutions only run dense')
    grad = problem.wants_grad
    rows = rows_of(x)
    plan = plan_rows(problem)
    size = rows.element_size()

    first, second = block.convs[:2]
    gather = _first_rows(problem, rows, plan)
    parts = _chunks(len(plan.needed), gather_width(first) * size, problem.workspace)
    if grad:
        done = [linear(gather(part), first, True, None) for part in parts]
        hidden = torch.cat([*done, rows.new_zeros(1, first.out_channels)])
    else:
        hidden = rows.new_empty(len(plan.needed) + 1, first.out_channels)
        hidden[-1] = 0  # after bias and ReLU: the padding of the second convolution
        for part in parts:
            linear(gather(part), first, True, hidden[:-1][part])

    identity = block.identity(x)
    own = identity is not x
    base = rows_of(identity)
    # Without a projection the inactive rows are relu(x). A copy costs what a ReLU
    # costs, and in place x is a ReLU's output by contract.
    out = base if own or problem.inplace else base.relu()
    if own and not grad:
        out = base
    for part in _chunks(
        len(plan.active), gather_width(second) * size, problem.workspace
    ):
        at = plan.active[part]
        y = hidden.index_select(0, plan.taps[part].reshape(-1)).view(len(at), -1)
        if len(block.convs) == 3:
            y = linear(linear(y, second, True, None), block.convs[2], False, None)
        else:
            y = linear(y, second, False, None)
        if grad:
            out = out.index_copy(0, at, (y + base.index_select(0, at)).relu())
        else:
            out.index_copy_(0, at, y.add_(base.index_select(0, at)).relu_())
    if own:
        out = out.relu() if grad else out.relu_()
    return map_of(out, problem.batch, problem.out_size)


def gather_width(conv: FoldedConv) -> int:
    """Return how many values one output row of a convolution reads."""
    return conv.in_channels * conv.kernel_size**2
