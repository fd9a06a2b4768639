"""One call of the sparse kernels: checked arguments, and what a rule may ask."""

from collections.abc import Callable
from functools import cached_property

import torch
from torch import Tensor

from dynnet.ops.masks import dilate_mask, upsample_mask
from dynnet.utils.errors import DynnetError

from .folded import FoldedBlock


class BackendUnavailableError(DynnetError, RuntimeError):
    """The backend that was asked for cannot run this block here."""


class Problem:
    """A block, its input and its mask.

    Args:
        x: (B, C, Hi, Wi), any memory format.
        mask: (B, h, w) or (B, 1, h, w), boolean or 0/1; (h, w) at most the output map.
        block: The folded block.
        inplace: Whether ``x`` may be overwritten.
        workspace: Bytes that the gathered rows of one step may take.

    Raises:
        TypeError: ``x`` is no floating tensor of the weights' type, or on another
            device.
        ValueError: Shapes that do not belong together; the message gives both.
    """

    def __init__(
        self,
        x: Tensor,
        mask: Tensor,
        block: FoldedBlock,
        inplace: bool = False,
        workspace: int = 64 << 20,
    ) -> None:
        weight = block.convs[0].weight
        if x.dim() != 4 or x.shape[1] != block.in_channels:
            raise ValueError(
                f'x is (B, {block.in_channels}, H, W), not {tuple(x.shape)}'
            )
        if x.dtype != weight.dtype or x.device != weight.device:
            raise TypeError(
                f'x is {x.dtype} on {x.device}, the folded weights are {weight.dtype} '
                f'on {weight.device}: convert one of them'
            )
        if mask.device != x.device:
            raise TypeError(f'x is on {x.device}, the mask on {mask.device}')
        size = (x.shape[2], x.shape[3])
        if 0 in size:
            raise ValueError(f'x has no pixels: {tuple(x.shape)}')
        if mask.dim() == 4 and mask.shape[1] == 1:
            mask = mask[:, 0]
        if mask.dim() != 3 or len(mask) != len(x):
            raise ValueError(
                f'the mask of {len(x)} images is (B, h, w) or (B, 1, h, w), not '
                f'{tuple(mask.shape)}'
            )
        out_size = block.out_size(size)
        h, w = mask.shape[1:]
        if not (0 < h <= out_size[0] and 0 < w <= out_size[1]):
            raise ValueError(
                f'a mask of {h}x{w} does not fit the output map of '
                f'{out_size[0]}x{out_size[1]}'
            )
        if mask.dtype != torch.bool:
            mask = mask > 0.5
        self.x, self.coarse, self.block = x, mask, block
        self.in_size, self.out_size = size, out_size
        self.mid_size = block.convs[0].out_size(size)
        self.inplace = inplace
        self.workspace = workspace

    @property
    def batch(self) -> int:
        return len(self.x)

    @cached_property
    def mask(self) -> Tensor:
        """The mask at output resolution, (B, H, W) boolean."""
        return upsample_mask(self.coarse, self.out_size)

    @cached_property
    def needed(self) -> Tensor:
        """Positions of the first convolution's output that are read, (B, Hm, Wm)."""
        conv = self.block.convs[1]
        return dilate_mask(self.mask, conv.stride, self.mid_size, conv.dilation)

    @cached_property
    def density(self) -> float:
        """Share of output positions that are active (a synchronisation on a GPU)."""
        return float(self.coarse.float().mean()) if self.batch else 0.0

    @property
    def wants_grad(self) -> bool:
        """Whether a gradient is to flow through the block."""
        if not torch.is_grad_enabled():
            return False
        convs = [*self.block.convs, self.block.shortcut]
        tensors = [t for conv in convs if conv for t in (conv.weight, conv.bias)]
        return any(t.requires_grad for t in (self.x, *tensors))


Backend = Callable[[Problem], Tensor]
"""Runs a problem: returns (B, O, H, W), channels last."""

Rule = Callable[[Problem], str]
"""Names the backend for a problem: what ``auto`` asks."""


def rows_of(x: Tensor) -> Tensor:
    """Return a map (B, C, H, W) as rows (B * H * W, C), a view if channels last."""
    return x.permute(0, 2, 3, 1).reshape(-1, x.shape[1]).contiguous()


def map_of(rows: Tensor, batch: int, size: tuple[int, int]) -> Tensor:
    """Return rows (B * H * W, C) as a map (B, C, H, W) in channels-last memory."""
    return rows.view(batch, *size, rows.shape[1]).permute(0, 3, 1, 2)
