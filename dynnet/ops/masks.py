"""Spatial masks: from a gate's coarse grid to the positions that a block computes.

Pure functions, shared by gates, cost accounting and the sparse kernels. A mask is 1 or
True where the block computes; floating masks may be straight-through samples, whose
values lie within rounding of 0 and 1.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def coarse_size(size: Sequence[int], granularity: int) -> tuple[int, int]:
    """Return the grid of decisions over a map: one per ``granularity`` squared pixels.

    Args:
        size: Height and width of the block's output map.
        granularity: S, side of the square that shares one decision.

    Returns:
        ``(max(1, H // S), max(1, W // S))``: a map smaller than S takes one decision.

    Raises:
        ValueError: ``granularity`` is below 1.
    """
    if granularity < 1:
        raise ValueError(f'granularity must be at least 1, not {granularity}')
    height, width = size
    return max(1, height // granularity), max(1, width // granularity)


def upsample_mask(mask: Tensor, size: Sequence[int]) -> Tensor:
    """Repeat a coarse mask to the output map by nearest neighbours.

    Output row i takes coarse row ``floor(i * h / H)``, as torch's ``nearest`` does it,
    whether or not the sizes divide. Differentiable for floating masks.

    Args:
        mask: (B, h, w) or (B, g, h, w), boolean, integer or floating.
        size: (H, W), each at least the mask's.

    Returns:
        (B, H, W) or (B, g, H, W) of the same dtype; ``mask`` itself when it has the
        size already.

    Raises:
        ValueError: ``mask`` has other dimensions or is larger than ``size``.
    """
    if mask.dim() not in (3, 4):
        raise ValueError(f'a mask has 3 or 4 dimensions, not shape {tuple(mask.shape)}')
    h, w = mask.shape[-2:]
    height, width = size
    if h > height or w > width or h == 0 or w == 0:
        raise ValueError(f'a mask of {h}x{w} does not fit a map of {height}x{width}')
    if (h, w) == (height, width):
        return mask
    full = mask if mask.is_floating_point() else mask.to(torch.uint8)
    full = full if mask.dim() == 4 else full[:, None]
    full = F.interpolate(full, size=(height, width), mode='nearest')
    return (full if mask.dim() == 4 else full[:, 0]).to(mask.dtype)


def dilate_mask(
    mask: Tensor,
    stride: int = 1,
    input_size: Sequence[int] | None = None,
    dilation: int = 1,
) -> Tensor:
    """Return the input positions that a padded 3x3 convolution reads for a mask.

    For stride s the mask's values move to the positions (s*i, s*j) of the input map,
    zeros between them; then every position within ``dilation`` steps of the kernel is
    set. A threshold: no gradient flows through it.

    Args:
        mask: (B, H, W), or (B, g, H, W) whose groups are united, at output resolution.
        stride: Stride of the convolution.
        input_size: Size of the input map; (s*H, s*W) when not given. An odd input map
            of a stride-2 convolution has 2H - 1 rows.
        dilation: Dilation of the convolution; its padding is the same.

    Returns:
        (B, Hi, Wi) or (B, 1, Hi, Wi), 0 or 1 in the mask's dtype.

    Raises:
        ValueError: ``input_size`` does not give the mask's size at this stride.
    """
    height, width = mask.shape[-2:]
    hi, wi = input_size or (stride * height, stride * width)
    if (-(-hi // stride), -(-wi // stride)) != (height, width):
        raise ValueError(
            f'a map of {hi}x{wi} at stride {stride} gives no {height}x{width}'
        )
    active = mask.detach() > 0.5 if mask.is_floating_point() else mask.bool()
    active = active.any(1, keepdim=True) if mask.dim() == 4 else active[:, None]
    spread = active.new_zeros((len(mask), 1, hi, wi), dtype=torch.float32)
    spread[:, :, ::stride, ::stride] = active.float()
    spread = F.pad(spread, [dilation] * 4)  # max_pool2d pads by one only
    out = F.max_pool2d(spread, 3, 1, 0, dilation).to(mask.dtype)
    return out if mask.dim() == 4 else out[:, 0]
