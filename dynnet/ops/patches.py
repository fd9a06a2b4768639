"""Cutting square patches out of frames, given where.

An *action* is a pair (y, x) in [0, 1]: the patch's upper left corner in units of the
room that is left, frame size minus patch size. A *corner* is the pixel that it means.
Rows come first in both.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from dynnet.utils.errors import ConfigError


def action_grid(num_actions: int) -> Tensor:
    """The places that a discrete policy chooses from: an even grid, row by row.

    Args:
        num_actions: n, a square number from 4 on.

    Returns:
        Actions (n, 2), float32; index i is (i // g, i % g) / (g - 1) with g = sqrt(n).

    Raises:
        ConfigError: ``num_actions`` is no square number, or 1.
    """
    side = math.isqrt(num_actions) if num_actions > 0 else 0
    if side < 2 or side * side != num_actions:
        raise ConfigError(
            f'num_actions={num_actions}: a grid of places needs a square number from '
            '4 on'
        )
    steps = torch.arange(side, dtype=torch.float32)
    rows, columns = torch.meshgrid(steps, steps, indexing='ij')
    return torch.stack([rows, columns], -1).reshape(-1, 2) / (side - 1)


def patch_corners(actions: Tensor, frame_size: int, patch_size: int) -> Tensor:
    """Turn actions into pixels, ``floor(action * (frame_size - patch_size))``.

    Args:
        actions: Shape (..., 2), in [0, 1]; the product is taken in float32.
        frame_size: Side of the square frame.
        patch_size: Side of the patch.

    Returns:
        Corners (..., 2), int64.

    Raises:
        ConfigError: The patch is larger than the frame.
    """
    room = check_patch_size(frame_size, patch_size)
    return (actions.detach().float() * room).floor().long()


def random_corners(
    shape: tuple[int, ...],
    frame_size: int,
    patch_size: int,
    device: torch.device | str | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Draw corners evenly.

    As in the published code the last place, ``frame_size - patch_size``, is never
    drawn.

    Args:
        shape: Number of corners; the result has the shape (*shape, 2).
        frame_size: Side of the square frame.
        patch_size: Side of the patch.
        device: Of the result.
        generator: Source of randomness, torch's own by default.

    Returns:
        Corners (*shape, 2), int64.
    """
    room = check_patch_size(frame_size, patch_size)
    return torch.randint(max(room, 1), (*shape, 2), device=device, generator=generator)


def centre_corners(
    shape: tuple[int, ...],
    frame_size: int,
    patch_size: int,
    device: torch.device | str | None = None,
) -> Tensor:
    """The corners (*shape, 2) of patches in the middle of the frame, int64."""
    room = check_patch_size(frame_size, patch_size)
    return torch.full((*shape, 2), room // 2, device=device)


def crop_patches(frames: Tensor, corners: Tensor, patch_size: int) -> Tensor:
    """Cut one patch out of every frame, pixel by pixel.

    On a CPU by slicing, elsewhere by one indexing into a view of all patches, which
    does not wait for the device.

    Args:
        frames: Shape (N, C, H, W).
        corners: Shape (N, 2), (y, x), integers with 0 <= y <= H - P, 0 <= x <= W - P.
            On a CPU a corner outside raises; elsewhere the device's indexing does.
        patch_size: P.

    Returns:
        Patches (N, C, P, P).

    Raises:
        ConfigError: The patch is larger than the frame.
        IndexError: A corner lies outside.
    """
    height, width = frames.shape[-2:]
    check_patch_size(min(height, width), patch_size)
    if frames.device.type != 'cpu':
        return crop_by_index(frames, corners, patch_size)
    places = corners.tolist()
    if not places:
        return frames.new_empty(0, frames.size(1), patch_size, patch_size)
    for y, x in places:
        if not (0 <= y <= height - patch_size and 0 <= x <= width - patch_size):
            raise IndexError(
                f'a patch of {patch_size} at ({y}, {x}) leaves the {height}x{width} '
                'frame'
            )
    # Four axes each, so that the result has the frames' memory format.
    return torch.cat(
        [
            frames[i : i + 1, :, y : y + patch_size, x : x + patch_size]
            for i, (y, x) in enumerate(places)
        ]
    )


def crop_by_index(frames: Tensor, corners: Tensor, patch_size: int) -> Tensor:
    """:func:`crop_patches` as one indexing operation, without a look at the corners."""
    views = frames.unfold(2, patch_size, 1).unfold(3, patch_size, 1)
    index = torch.arange(len(frames), device=frames.device)
    return views[index, :, corners[:, 0], corners[:, 1]]


def sample_patches(frames: Tensor, actions: Tensor, patch_size: int) -> Tensor:
    """Cut patches at places between the pixels, so that gradients reach the actions.

    Bilinear (``grid_sample``); at whole pixels it gives :func:`crop_patches`' result up
    to rounding (1e-4 for unit-sized pixels).

    Args:
        frames: Shape (N, C, H, W), H = W.
        actions: Shape (N, 2), (y, x) in [0, 1]; gradients flow into them.
        patch_size: P.

    Returns:
        Patches (N, C, P, P).

    Raises:
        ConfigError: The patch is larger than the frame.
    """
    size = frames.shape[-1]
    room = check_patch_size(min(frames.shape[-2:]), patch_size)
    pixels = torch.arange(patch_size, dtype=torch.float32, device=frames.device) + 0.5
    corners = actions.float() * room
    # Pixel centres in the unit of grid_sample, [-1, 1] from edge to edge.
    rows, columns = ((corners[:, i, None] + pixels) * (2 / size) - 1 for i in (0, 1))
    grid = torch.stack(
        [
            columns[:, None, :].expand(-1, patch_size, -1),
            rows[:, :, None].expand(-1, -1, patch_size),
        ],
        -1,
    )
    return F.grid_sample(frames, grid.to(frames.dtype), align_corners=False)


def check_patch_size(frame_size: int, patch_size: int) -> int:
    """Return how far a patch can move.

    Raises:
        ConfigError: The patch is larger than the frame.
    """
    if not 0 < patch_size <= frame_size:
        raise ConfigError(
            f'patch_size={patch_size} does not fit into frames of {frame_size} pixels'
        )
    return frame_size - patch_size
