"""Mixing n learned kernels into one per sample."""

import torch
from torch import Tensor

from . import mixing_cpp


def allocate_kernels(
    number: int,
    out_channels: int,
    in_channels: int,
    kernel_size: tuple[int, int],
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
) -> Tensor:
    """Return uninitialised kernels (n, O, I, kH, kW) in the layout that mixing reads.

    In memory they lie as (O, n, kH, kW, I): one output channel's kernels together, as
    mixing wants them, and the input channels last, as a channels-last convolution does.
    So nothing has to be rearranged or cached, and nothing can become stale. Copies,
    gradients and optimizer states keep such strides.
    """
    memory = torch.empty(
        out_channels, number, *kernel_size, in_channels, device=device, dtype=dtype
    )
    return memory.permute(1, 0, 4, 2, 3)


def _bank(weight: Tensor) -> Tensor:
    """View kernels (n, O, I, kH, kW) as (O, n * kH * kW, I)."""
    return weight.permute(1, 0, 3, 4, 2).flatten(1, 3)


def mix_kernels(weight: Tensor, gates: Tensor) -> Tensor:
    """Sum n kernels by every sample's gates.

    Args:
        weight: (n, O, I, kH, kW).
        gates: (B, n).

    Returns:
        (B, O, I, kH, kW).
    """
    n, out, inner, height, width = weight.shape
    bank = weight.permute(1, 0, 3, 4, 2).flatten(2)  # O n (kH kW I)
    mixed = torch.matmul(gates, bank.to(gates.dtype))
    return mixed.view(out, -1, height, width, inner).permute(1, 0, 4, 2, 3)


def apply_mixing(weight: Tensor, mixing: Tensor) -> Tensor:
    """Let every sample's matrix make one kernel's taps from those of n kernels.

    Args:
        weight: (n, O, I, kH, kW) with T = kH * kW taps.
        mixing: (B, T, n, T): tap p of sample b's kernel is the sum over k and q of
            ``mixing[b, p, k, q]`` times tap q of kernel k.

    Returns:
        (B, O, I, kH, kW), in memory (O, B, kH, kW, I).
    """
    n, out, inner, height, width = weight.shape
    rows = mixing.flatten(2).flatten(0, 1)  # (B T), (n T)
    bank = _bank(weight).to(rows.dtype)
    if mixing_cpp.unavailable(bank, rows) is None:
        mixed = mixing_cpp.mix_rows(bank, rows)  # O (B T) I
    else:
        mixed = torch.matmul(rows, bank)
    return mixed.view(out, -1, height, width, inner).permute(1, 0, 4, 2, 3)
