"""How many samples an exit gets: shares, quotas, and the score that fills a quota."""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
import torch

from dynnet.utils.errors import ConfigError

Array = TypeVar('Array', np.ndarray, torch.Tensor)

P_UNIFORM = 20


def exit_shares(p: float, num_exits: int) -> np.ndarray:
    r"""Shares of samples per exit, :math:`q_k \propto (p / 20)^k`, k = 1..E.

    p = 20 is uniform, smaller ones favour early exits.

    Args:
        p: Positive number; the published grid is 1..39.
        num_exits: E.

    Returns:
        Shape (E,), float32, sums to 1.

    Raises:
        ValueError: ``p`` is not positive.
    """
    if not p > 0:
        raise ConfigError(f'p must be positive, got {p}')
    # torch's float32 exp and log, as in the published scripts: NumPy's differ in the
    # last bit, which is enough to move a quota by one.
    ratio = torch.full((1,), p / P_UNIFORM, device='cpu')
    powers = torch.arange(1, num_exits + 1, dtype=torch.float32, device='cpu')
    shares = torch.exp(torch.log(ratio) * powers)
    return (shares / shares.sum()).numpy()


def quotas(shares: Sequence[float] | np.ndarray, num_samples: int) -> np.ndarray:
    """How many samples each exit may keep: the floor of a float32 product.

    Args:
        shares: Shape (E,).
        num_samples: N.

    Returns:
        Shape (E,), int64.
    """
    shares = np.asarray(shares, dtype=np.float32)
    return np.floor(np.float32(num_samples) * shares).astype(np.int64)


def check_shares(shares: Sequence[float] | np.ndarray, num_exits: int) -> np.ndarray:
    """Turn exit shares into a valid array.

    Args:
        shares: One per exit.
        num_exits: E.

    Returns:
        Shape (E,), float32.

    Raises:
        ValueError: Wrong length, a negative share, or a sum other than 1.
    """
    array = np.asarray(shares, dtype=np.float32)
    if array.shape != (num_exits,):
        raise ConfigError(
            f'{num_exits} exits need {num_exits} shares, got {array.size}: {shares}'
        )
    if not (array >= 0).all() or abs(float(array.sum()) - 1) > 1e-4:
        raise ConfigError(
            f'exit shares must not be negative and sum to 1, got {array.tolist()}'
        )
    return array


def mth_best(scores: Array, m: int) -> Array:
    """Return the m-th largest score: whoever reaches it is among the m best, or ties.

    Args:
        scores: Shape (N,). NumPy or torch.
        m: From 1 to N.

    Returns:
        A scalar of the same library; of torch, on the same device without waiting.
    """
    if isinstance(scores, torch.Tensor):
        return scores.topk(m).values[-1]
    return np.partition(scores, -m)[-m]
