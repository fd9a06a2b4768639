"""A masked 1x1 convolution that is added to an identity: the end of a residual block.

For blocks whose first part has to stay dense, as RegNetY's: squeeze and excitation
pools the whole map, so only what comes after it can be skipped exactly.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from dynnet.ops.masks import upsample_mask

from . import cpp, mkldnn_rows, torch_rows
from .folded import FoldedConv
from .problem import BackendUnavailableError, map_of, rows_of


def sparse_pointwise(
    x: Tensor,
    mask: Tensor,
    conv: FoldedConv,
    identity: Tensor,
    backend: str = 'auto',
    *,
    inplace: bool = False,
) -> Tensor:
    """Compute ``relu(identity + mask * conv(x))``, the convolution at active positions.

    Args:
        x: (B, K, H, W).
        mask: (B, h, w) or (B, 1, h, w), boolean or 0/1, at most (H, W).
        conv: A folded 1x1 convolution of stride 1 without groups, K to O channels.
        identity: (B, O, H, W), any values.
        backend: ``'cpp'``, ``'mkldnn'``, ``'torch'`` (differentiable), ``'dense'`` or
            ``'auto'``: the first of ``cpp``, ``mkldnn``, ``torch`` that can.
        inplace: Whether ``identity`` may be overwritten.

    Returns:
        (B, O, H, W) in channels-last memory.

    Raises:
        TypeError: Types or devices do not agree.
        ValueError: Shapes do not fit, or the backend does not exist.
        BackendUnavailableError: The backend cannot run this here.
    """
    mask = _check(x, mask, conv, identity)
    tensors = (x, identity, conv.weight, conv.bias)
    grad = torch.is_grad_enabled() and any(t.requires_grad for t in tensors)
    name = _choose(backend, x, grad)
    if name == 'dense' or not len(x):
        y = conv.dense(x).masked_fill(~mask[:, None], 0) + identity
        return F.relu(y).contiguous(memory_format=torch.channels_last)
    out = rows_of(identity)
    if not inplace or grad:
        out = out.clone() if out.data_ptr() == identity.data_ptr() else out
    if name == 'cpp':
        cpp.pointwise(rows_of(x), mask, conv, out)
        return map_of(out, len(x), x.shape[2:])
    linear = mkldnn_rows.linear if name == 'mkldnn' else torch_rows.linear
    active = mask.reshape(-1).nonzero()[:, 0]
    y = linear(rows_of(x).index_select(0, active), conv, False, None)
    if grad:
        out = out.index_add(0, active, y).relu()
    else:
        out.index_add_(0, active, y).relu_()
    return map_of(out, len(x), x.shape[2:])


def _check(x: Tensor, mask: Tensor, conv: FoldedConv, identity: Tensor) -> Tensor:
    """Return the mask at the map's size, (B, H, W), boolean."""
    if (conv.kernel_size, conv.stride, conv.groups) != (1, 1, 1):
        raise ValueError('only a 1x1 convolution of stride 1 without groups')
    expected = (len(x), conv.out_channels, *x.shape[2:])
    if x.dim() != 4 or x.shape[1] != conv.in_channels or identity.shape != expected:
        raise ValueError(
            f'x is (B, {conv.in_channels}, H, W) and identity (B, {conv.out_channels}, '
            f'H, W), not {tuple(x.shape)} and {tuple(identity.shape)}'
        )
    kinds = {(t.dtype, t.device) for t in (x, identity, conv.weight)}
    if len(kinds) != 1 or mask.device != x.device:
        raise TypeError('x, identity, mask and weights differ in type or device')
    if mask.dim() == 4 and mask.shape[1] == 1:
        mask = mask[:, 0]
    if mask.dim() != 3 or len(mask) != len(x):
        raise ValueError(
            f'the mask of {len(x)} images is (B, h, w) or (B, 1, h, w), not '
            f'{tuple(mask.shape)}'
        )
    mask = mask if mask.dtype == torch.bool else mask > 0.5
    return upsample_mask(mask, x.shape[2:])


def _choose(backend: str, x: Tensor, grad: bool) -> str:
    if backend not in ('auto', 'cpp', 'mkldnn', 'torch', 'dense'):
        raise ValueError(f'no backend {backend!r} for a 1x1 convolution')
    if backend in ('torch', 'dense'):
        return backend
    fits = x.device.type == 'cpu' and x.dtype == torch.float32 and not grad
    for name, module in (('cpp', cpp), ('mkldnn', mkldnn_rows)):
        if backend not in ('auto', name):
            continue
        reason = module.unavailable()
        if not reason and not fits:
            reason = 'only float32 on a CPU, without gradients'
        if not reason:
            return name
        if backend == name:
            raise BackendUnavailableError(f'backend {name!r} cannot run this: {reason}')
    return 'torch'
