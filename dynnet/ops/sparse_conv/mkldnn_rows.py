"""The rows form on oneDNN's prepacked linears: private operators, hence guarded.

They exist in torch's CPU builds with oneDNN for inductor's use; nothing promises that
they stay. Whatever is missing is a reason in :func:`unavailable`, never a failure.
"""

import torch
from torch import Tensor

from . import torch_rows
from .folded import FoldedConv
from .problem import Problem


def unavailable(problem: Problem | None = None) -> str | None:
    """Return why the backend cannot run (this problem), or None."""
    if not (torch.backends.mkldnn.is_available() and torch.backends.mkldnn.enabled):
        return 'torch has no oneDNN here'
    for name in ('_linear_pointwise', '_reorder_linear_weight'):
        if not hasattr(torch.ops.mkldnn, name):
            return f'this torch has no torch.ops.mkldnn.{name}'
    if problem is None:
        return None
    if problem.x.device.type != 'cpu' or problem.x.dtype != torch.float32:
        return 'only float32 on a CPU'
    if problem.block.groups != 1:
        return 'grouped convolutions only run dense'
    if problem.wants_grad:
        return 'no gradient'
    return None


def linear(
    rows: Tensor, conv: FoldedConv, relu: bool, out: Tensor | None = None
) -> Tensor:
    """Multiply rows as :func:`torch_rows.linear` does, by a prepacked weight."""
    packed = conv.layouts.get('mkldnn')
    if packed is None:
        weight = conv.matrix().t().contiguous()
        packed = torch.ops.mkldnn._reorder_linear_weight(weight, None)
        conv.layouts['mkldnn'] = packed
    y = torch.ops.mkldnn._linear_pointwise(rows, packed, conv.bias, 'none', [], '')
    if relu:  # oneDNN's own, fused, turns NaN into zero
        y.relu_()
    return y if out is None else out.copy_(y)


def run(problem: Problem) -> Tensor:
    """Run a problem on oneDNN's linears."""
    return torch_rows.run(problem, linear)
