"""Convolving every sample of a batch with a kernel of its own."""

import torch
import torch.nn.functional as F
from torch import Tensor

Size = int | tuple[int, int]


def per_sample_conv2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Size = 1,
    padding: Size | str = 0,
    dilation: Size = 1,
    groups: int = 1,
) -> Tensor:
    """``F.conv2d`` with one kernel per sample.

    On a CPU the samples are convolved one after the other, elsewhere (and where a
    graph is made, whose batch size may be free) as groups of one convolution.

    Args:
        x: (B, C, H, W); B may be 0.
        weight: (B, O, C / groups, kH, kW).
        bias: (O,), shared by all samples, or None.
        stride: As for ``F.conv2d``, like the following.
        padding: Its padding.
        dilation: Its dilation.
        groups: Its groups, within each sample.

    Returns:
        (B, O, H', W').

    Raises:
        ValueError: Not one kernel per sample.
    """
    batch = x.shape[0]  # not len(x), which would fix the batch size of a graph
    if weight.dim() != 5 or weight.shape[0] != batch:
        raise ValueError(
            f'{batch} samples need as many kernels (B, O, I, kH, kW), got '
            f'{tuple(weight.shape)}'
        )
    geometry = (stride, padding, dilation)
    if batch == 0:
        # Shapes and zero gradients for all that the kernels come from.
        return F.conv2d(x, weight.sum(0), bias, *geometry, groups)
    if batch == 1:
        return F.conv2d(x, weight[0], bias, *geometry, groups)
    if x.is_cpu and not _makes_graph():
        parts = zip(x.split(1), weight.unbind(0))
        return torch.cat([F.conv2d(s, w, bias, *geometry, groups) for s, w in parts])
    channels, out = x.shape[1], weight.shape[1]
    joined = x.reshape(1, batch * channels, *x.shape[2:])
    y = F.conv2d(
        joined,
        weight.flatten(0, 1),
        None if bias is None else bias.repeat(batch),
        *geometry,
        batch * groups,
    )
    return y.view(batch, out, *y.shape[2:])


def _makes_graph() -> bool:
    return torch.compiler.is_compiling() or torch.jit.is_tracing()
