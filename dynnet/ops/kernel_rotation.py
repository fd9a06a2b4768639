"""Rotating 3x3 kernels by predicted angles, and mixing several into one (ARC).

Taps are numbered row by row, ``p = 3 * row + column``; y points down. A rotation is a
9x9 matrix that acts on the taps, the same one for all channels.
"""

import torch
from torch import Tensor

from .kernel_mixing import apply_mixing

# The outer taps, clockwise as the kernel is seen as an image; then the centre.
_RING = (0, 1, 2, 5, 8, 7, 6, 3)
_CENTRE = 4
# Weights of an output tap as combinations of (1, c, s, s * c), where c = cos(theta) and
# s = sin(|theta|): of a corner (on itself and its neighbour), of an edge (on itself,
# its two neighbours and the centre).
_CORNER = ((0, 1, -1, 0), (1, -1, 1, 0))
_EDGE = ((0, 1, 0, -1), (0, 0, 0, 1), (0, 0, 1, -1))
_EDGE_CENTRE = (1, -1, -1, 1)


def rotation_basis(
    dtype: torch.dtype | None = None, device: torch.device | str | None = None
) -> Tensor:
    """Return what :func:`rotation_matrix` combines: (8, 81).

    The first four rows belong to 1, c, s and s * c of angles from 0 on, the others to
    those of negative angles. All entries are 0, 1 or -1.
    """
    basis = torch.zeros(2, 4, 9, 9)
    for half, step in enumerate((1, -1)):
        basis[half, 0, _CENTRE, _CENTRE] = 1
        for k, tap in enumerate(_RING):
            for hop, parts in enumerate(_EDGE if k % 2 else _CORNER):
                source = _RING[(k + hop * step) % 8]
                basis[half, :, tap, source] = torch.tensor(parts).float()
            if k % 2:
                basis[half, :, tap, _CENTRE] = torch.tensor(_EDGE_CENTRE).float()
    return basis.view(8, 81).to(device=device, dtype=dtype)


def rotation_matrix(angles: Tensor, basis: Tensor | None = None) -> Tensor:
    """Matrices that rotate 3x3 kernels: ``rotated.flatten() = M @ kernel.flatten()``.

    Output tap p reads the kernel at p turned clockwise by the angle (so the content
    turns counter-clockwise), by bilinear interpolation with coordinates clamped to the
    kernel. That is exact up to 45 degrees; further out the closed form goes on as it
    is (ARC, Section 3.1; the network itself stays within 40 degrees). Every row sums
    to one. At angle 0 (also -0.0) the result is the identity and the gradient is that
    of positive angles: the derivative jumps there.

    Args:
        angles: Radians, any shape (...), floating point.
        basis: :func:`rotation_basis`, for callers that keep it.

    Returns:
        (..., 9, 9), of the angles' dtype.
    """
    if basis is None:
        basis = rotation_basis(angles.dtype, angles.device)
    positive = angles >= 0
    cos, sin = angles.cos(), angles.sin()
    sin = torch.where(positive, sin, -sin)
    parts = torch.stack((torch.ones_like(cos), cos, sin, sin * cos), -1)
    chosen = torch.stack((positive, ~positive), -1).to(parts.dtype)
    both = (chosen.unsqueeze(-1) * parts.unsqueeze(-2)).flatten(-2)
    return (both @ basis.to(parts.dtype)).unflatten(-1, (9, 9))


def rotate_kernels(
    weight: Tensor, angles: Tensor, basis: Tensor | None = None
) -> Tensor:
    """Rotate every kernel by an angle of its own.

    Args:
        weight: (n, O, I, 3, 3).
        angles: Radians (n,).
        basis: :func:`rotation_basis`.

    Returns:
        (n, O, I, 3, 3).

    Raises:
        ValueError: The kernels are not 3x3.
    """
    check_kernels(weight)
    matrix = rotation_matrix(angles, basis)
    return torch.einsum('npq,noiq->noip', matrix, weight.flatten(-2)).view(weight.shape)


def rotate_and_mix(
    weight: Tensor, angles: Tensor, gates: Tensor, basis: Tensor | None = None
) -> Tensor:
    """Rotate n kernels by every sample's angles and sum them by its gates.

    The gates go into the rotation matrices, so all samples' kernels are one matrix
    product (ARC, Section 3.3).

    Args:
        weight: (n, O, I, 3, 3). Laid out as :func:`allocate_kernels` does, nothing is
            copied.
        angles: Radians (B, n).
        gates: (B, n), of the angles' dtype.
        basis: :func:`rotation_basis`.

    Returns:
        (B, O, I, 3, 3).

    Raises:
        ValueError: The kernels are not 3x3, or the shapes do not belong together.
    """
    check_kernels(weight)
    if angles.shape != gates.shape or angles.shape[1:] != weight.shape[:1]:
        raise ValueError(
            f'{len(weight)} kernels need angles and gates (B, {len(weight)}), got '
            f'{tuple(angles.shape)} and {tuple(gates.shape)}'
        )
    matrices = rotation_matrix(angles, basis) * gates[..., None, None]  # B n p q
    return apply_mixing(weight, matrices.transpose(1, 2))


def check_kernels(weight: Tensor) -> None:
    """Refuse kernels that :func:`rotation_matrix` cannot rotate."""
    if weight.dim() != 5 or weight.shape[-2:] != (3, 3):
        raise ValueError(
            'only 3x3 kernels (n, O, I, 3, 3) can be rotated, got '
            f'{tuple(weight.shape)}'
        )
