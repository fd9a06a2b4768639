"""Who leaves where, given scores and thresholds."""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
import torch

from dynnet.utils.errors import ConfigError

from .shares import check_shares, mth_best, quotas

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


def assign_by_shares(
    scores: Array, shares: Sequence[float] | np.ndarray | torch.Tensor
) -> Array:
    """Assign a fixed number of samples to every exit: the most confident first.

    Exit k, in order, takes the floor(N * share_k) best of the samples that no earlier
    exit took; the last exit takes the rest. These are the quotas and the ranking of
    :func:`thresholds_for_shares`, but not its ties: of samples that tie for the last
    place of a quota, the first ones are taken, so that every count is exact. A quota
    of zero leaves its exit without samples.

    Args:
        scores: Shape (E, N), larger means leave. NumPy or torch.
        shares: Shape (E,), not negative, sum 1.

    Returns:
        Exit index (N,) int64, from 0, of the same library (and device) as ``scores``.

    Raises:
        ValueError: Bad shares, or scores that are no table or hold NaN.
    """
    check_scores(scores)
    num_exits, num_samples = scores.shape
    counts = quotas(check_shares(shares, num_exits), num_samples).tolist()
    lib = torch if isinstance(scores, torch.Tensor) else np
    exits = lib.full_like(scores[0], num_exits - 1, dtype=lib.int64)
    free = lib.ones_like(exits, dtype=bool)
    for k, quota in enumerate(counts[:-1]):
        if quota == 0:
            continue
        # Nobody's score is so low that a taken sample could come before a free one.
        ranked = lib.where(free, scores[k], -lib.inf)
        limit = mth_best(ranked, min(quota, num_samples))
        above, tied = ranked > limit, free & (ranked == limit)
        room = quota - above.sum()
        taken = above | (tied & (lib.cumsum(tied, 0) <= room))
        exits = lib.where(taken, k, exits)
        free = free & ~taken
    return exits


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
