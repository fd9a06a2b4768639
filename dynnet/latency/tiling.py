"""Search for the best tile, all candidates at once.

The candidates of every axis are tried in ascending order, later axes fastest, and the
first of equal ones wins: that reproduces the published choices.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy import ndarray

from .cost import OpCost, total_time


def powers(size: int) -> list[int]:
    """The powers of two, up to 128, that are at most ``2 * size``, ascending."""
    return [2**i for i in range(8) if 2**i <= 2 * size]


def candidates(size: int) -> list[int]:
    """Tile sizes that are tried on an axis.

    They are powers of two (up to 128) that are at most ``2 * size``, the axis cut into
    1 to 7 equal parts, and every small number.

    Args:
        size: Length of the axis, at least 1.

    Returns:
        The sizes, ascending.
    """
    parts = {-(-size // i) for i in range(1, min(size, 8))}
    small = set(range(2, min(size, 8)))
    return sorted({*powers(size)} | parts | small)


def grid(*axes: Sequence[int]) -> tuple[ndarray, ...]:
    """All combinations of tile sizes.

    Args:
        axes: Candidates of each axis.

    Returns:
        One array (K,) per axis; the last axis changes fastest.
    """
    mesh = np.meshgrid(*[np.asarray(a, dtype=np.int64) for a in axes], indexing='ij')
    return tuple(axis.ravel() for axis in mesh)


def ceil_div(a: ndarray | int, b: ndarray | int) -> ndarray | int:
    """``ceil(a / b)`` of whole numbers."""
    return -(-a // b)


def search(
    cost: Callable[..., tuple[ndarray, ndarray]],
    tiles: tuple[ndarray, ...],
    mode: str,
    launch: float,
) -> tuple[OpCost, tuple[int, ...]]:
    """Find the fastest tile.

    Args:
        cost: Takes ``tiles`` and returns their compute and memory seconds (K,).
        tiles: What :func:`grid` returned.
        mode: ``'add'`` or ``'max'``: how compute and memory make up the time.
        launch: Seconds that starting the operator takes.

    Returns:
        The cost of the fastest tile (of equals, the first), and the tile.
    """
    compute, memory = np.broadcast_arrays(*cost(*tiles))
    best = int(np.argmin(total_time(compute, memory, mode)))
    chosen = tuple(int(axis[best]) for axis in tiles)
    found = OpCost(float(compute[best]), float(memory[best]), launch, mode)
    return found, chosen
