"""Quality against cost, one point per trained network."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from .figure import COLOURS, new_figure, save_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Seeds = Sequence[tuple[float, float]]


def plot_tradeoff(
    groups: Mapping[str, Mapping[str, Seeds]],
    path: str | os.PathLike | None = None,
    ylabel: str = 'top-1 accuracy (%)',
    title: str | None = None,
) -> Figure:
    """Draw one point per network: its mean over seeds, with a bar from worst to best.

    Args:
        groups: For each kind of network (one colour), its networks: (MACs, quality) of
            every seed, by the network's name, which is written beside the point.
        path: Where to write the figure, or None.
        ylabel: What the quality is.
        title: Title of the figure.

    Returns:
        The figure.

    Raises:
        ValueError: There is nothing to draw.
    """
    if not groups or not all(s for g in groups.values() for s in g.values()):
        raise ValueError('no networks to draw')
    figure = new_figure(6.4, 4.4)
    axes = figure.add_subplot()
    for i, (kind, networks) in enumerate(groups.items()):
        colour = COLOURS[i % len(COLOURS)]
        label = kind
        for name, seeds in networks.items():
            costs, values = zip(*seeds)
            x, y = sum(costs) / len(costs) / 1e6, sum(values) / len(values)
            spread = [[y - min(values)], [max(values) - y]] if len(seeds) > 1 else None
            axes.errorbar(
                [x], [y], spread, fmt='o', color=colour, capsize=3, label=label
            )
            axes.annotate(name, (x, y), (6, 4), textcoords='offset points', fontsize=8)
            label = None  # once per kind
    axes.set_xlabel('mean cost per picture (million MACs)')
    axes.set_ylabel(ylabel)
    axes.margins(0.15)
    axes.grid(alpha=0.3)
    axes.spines[['top', 'right']].set_visible(False)
    figure.legend(loc='outside lower center', frameon=False, fontsize=9, ncols=2)
    if title:
        axes.set_title(title)
    if path is not None:
        save_figure(figure, path)
    return figure
