"""Who leaves where, given scores and thresholds."""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
import torch

from dynnet.utils.errors import ConfigError

Array = TypeVar('Array', np.ndarray, torch.Tensor)


def assign_exits(scores: Array, thresholds: Sequence[float] | Array) -> Array:
    """Assign each sample to the first exit whose score reaches the threshold.

    Thresholds are inclusive and compared in the scores' own precision; the last exit
    takes whoever is left.

    Args:
        scores: Shape (E, N), larger means leave. NumPy or torch.
        thresholds: Shape (E - 1,). +inf: nobody leaves there.

    Returns:
        Exit index (N,) int64, from 0, of the same library (and device) as ``scores``.

    Raises:
        ValueError: Wrong shapes, or NaN among scores or thresholds.
    """
    check_scores(scores)
    thresholds = check_thresholds(thresholds, len(scores))
    if isinstance(scores, torch.Tensor):
        limit = torch.as_tensor(thresholds).to(scores)
        leaves = torch.ones_like(scores, dtype=torch.uint8)
        leaves[:-1] = scores[:-1] >= limit[:, None]
        return leaves.argmax(dim=0)
    leaves = np.ones(scores.shape, dtype=bool)
    leaves[:-1] = scores[:-1] >= thresholds.astype(scores.dtype)[:, None]
    return leaves.argmax(axis=0)


def check_scores(scores: Array) -> None:
    """Refuse a score table that is not (E, N) or that holds NaN.

    Args:
        scores: The table.

    Raises:
        ValueError: Names the shape, or the exit and the sample of the first NaN.
    """
    if scores.ndim != 2 or len(scores) == 0:
        raise ConfigError(
            f'scores must have shape (exits, samples), got {tuple(scores.shape)}'
        )
    bad = scores != scores
    if bad.any():
        exit_index, sample = np.argwhere(np.asarray(bad.tolist()))[0]
        raise ConfigError(
            f'scores hold {int(bad.sum())} NaN, the first at exit {exit_index + 1}, '
            f'sample {sample}: the model produced NaN logits'
        )


def check_thresholds(thresholds: Sequence[float] | Array, num_exits: int) -> np.ndarray:
    """Turn thresholds into an array of the right length.

    Args:
        thresholds: One per exit but the last.
        num_exits: E.

    Returns:
        Shape (E - 1,), float64.

    Raises:
        ValueError: Wrong length (both are named) or NaN.
    """
    if isinstance(thresholds, torch.Tensor):
        thresholds = thresholds.tolist()
    # None is what +inf is in JSON: nobody leaves.
    limits = np.asarray([np.inf if t is None else t for t in thresholds], np.float64)
    if limits.shape != (num_exits - 1,):
        raise ConfigError(
            f'{num_exits} exits need {num_exits - 1} thresholds (the last exit takes '
            f'all), got {limits.size}'
        )
    if np.isnan(limits).any():
        raise ConfigError(
            f'threshold of exit {int(np.isnan(limits).argmax()) + 1} is NaN'
        )
    return limits
