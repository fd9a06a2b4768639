"""Learned sample weights against losses, exit by exit."""

import os
from collections.abc import Sequence

import numpy as np

from dynnet.utils.errors import DataError

from .figure import COLOURS, new_figure, save_figure


def weights_by_difficulty(
    losses: np.ndarray, weights: np.ndarray, groups: int = 4
) -> np.ndarray:
    """Mean weight of easy to hard samples at every exit.

    Args:
        losses: Unweighted losses (N, E). A sample's difficulty is its mean over exits.
        weights: Their weights (N, E).
        groups: Number of equally large groups, easiest first.

    Returns:
        Shape (groups, E).

    Raises:
        DataError: The tables do not match, or have fewer samples than groups.
    """
    losses, weights = _check(losses, weights)
    if len(losses) < groups:
        raise DataError(f'{len(losses)} samples cannot make {groups} groups')
    order = np.argsort(losses.mean(1), kind='stable')
    return np.stack([weights[part].mean(0) for part in np.array_split(order, groups)])


def plot_sample_weights(
    losses: np.ndarray,
    weights: np.ndarray,
    path: str | os.PathLike,
    title: str | None = None,
    names: Sequence[str] | None = None,
) -> None:
    """Draw one panel per exit: every sample's weight against its loss there.

    A line joins the medians of ten groups of equal size.

    Args:
        losses: Unweighted losses (N, E).
        weights: Their weights (N, E).
        path: The picture; its extension says the format.
        title: Title.
        names: Names of the exits.

    Raises:
        DataError: The tables do not match or are empty.
    """
    losses, weights = _check(losses, weights)
    num_exits = losses.shape[1]
    names = names or [f'exit {k + 1}' for k in range(num_exits)]
    figure = new_figure(2.6 * num_exits + 0.6, 3.0)
    axes = figure.subplots(1, num_exits, sharey=True, squeeze=False)[0]
    floor = 1e-4  # losses are drawn on a logarithmic axis
    for k, (axis, name) in enumerate(zip(axes, names)):
        x, y = np.maximum(losses[:, k], floor), weights[:, k]
        axis.scatter(x, y, s=3, alpha=0.3, linewidths=0, color=COLOURS[0])
        parts = np.array_split(np.argsort(x, kind='stable'), min(10, len(x)))
        axis.plot(
            [np.median(x[p]) for p in parts],
            [np.median(y[p]) for p in parts],
            color=COLOURS[1],
            marker='o',
            markersize=3,
        )
        axis.axhline(1, color='0.6', linewidth=0.8)
        axis.set_xscale('log')
        axis.set_xlabel('loss')
        axis.set_title(name)
    axes[0].set_ylabel('weight')
    if title:
        figure.suptitle(title)
    save_figure(figure, path)


def _check(losses: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    losses, weights = np.asarray(losses), np.asarray(weights)
    if losses.ndim != 2 or losses.shape != weights.shape or not losses.size:
        raise DataError(
            'losses and weights must be two tables (samples, exits) of one shape, got '
            f'{losses.shape} and {weights.shape}'
        )
    return losses, weights
