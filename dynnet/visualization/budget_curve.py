"""Accuracy against cost: exits one by one, and budgets met by thresholds."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from .figure import COLOURS, new_figure, save_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Points = dict[str, tuple[float, float]]


@dataclass
class EarlyExitRun:
    """What one test of one trained network gave.

    Attributes:
        anytime: (cost, accuracy) of everybody at one exit, by the exit's name.
        budgeted: (mean cost, accuracy) of the operating points, by their names.
        unit: Unit of the costs, ``'macs'`` or another.
    """

    anytime: Points
    budgeted: Points = field(default_factory=dict)
    unit: str = 'macs'

    @classmethod
    def from_metrics(
        cls, metrics: Mapping[str, float], unit: str = 'macs'
    ) -> EarlyExitRun:
        """Read the metrics that ``tools/test.py --out FILE.json`` writes.

        Args:
            metrics: Their names and values.
            unit: Unit of the costs, as it stands in the names.

        Returns:
            The run.

        Raises:
            ValueError: There is no exit with an accuracy and a cost.
        """
        found: dict[str, Points] = {'anytime': {}, 'budgeted': {}}
        for key, accuracy in metrics.items():
            match = re.fullmatch(r'(anytime|budgeted)/(\S+)_top1', key)
            cost = match and metrics.get(f'{match[1]}/{match[2]}_{unit}')
            if cost is not None:
                found[match[1]][match[2]] = (float(cost), float(accuracy))
        if not found['anytime']:
            raise ValueError(
                f'no metrics named anytime/exit1_top1 and anytime/exit1_{unit}: were '
                'they written by tools/test.py --out with a multi-exit config?'
            )
        return cls(found['anytime'], found['budgeted'], unit)


def average_points(runs: Sequence[Points]) -> tuple[np.ndarray, ...]:
    """Mean and range over runs, point by point, of the points that all of them have.

    Args:
        runs: The points of every run.

    Returns:
        Mean cost, mean, lowest and highest accuracy, (P,) each, by rising cost.
    """
    names = [name for name in runs[0] if all(name in run for run in runs)]
    table = np.array([[run[name] for name in names] for run in runs])
    table = table.reshape(len(runs), len(names), 2)
    costs, accuracies = table.mean(0).T
    order = np.argsort(costs, kind='stable')
    spread = (costs, accuracies, table[..., 1].min(0), table[..., 1].max(0))
    return tuple(column[order] for column in spread)


def plot_budget_curve(
    runs: Mapping[str, Sequence[EarlyExitRun]],
    path: str | os.PathLike | None = None,
    title: str | None = None,
) -> Figure:
    """Draw accuracy against mean cost per picture.

    Squares are the exits (everybody leaves there), the line is what thresholds make of
    them. Several runs of one network (seeds) give their mean and a band from the worst
    to the best.

    Args:
        runs: The runs of every network, by the network's name.
        path: Where to write the figure, or None.
        title: Title of the figure.

    Returns:
        The figure.

    Raises:
        ValueError: There is nothing to draw, or the units differ.
    """
    units = {run.unit for group in runs.values() for run in group}
    if not units or not all(runs.values()):
        raise ValueError('no runs to draw')
    if len(units) > 1:
        raise ValueError(f'costs in different units: {sorted(units)}')
    unit = units.pop()
    scale, label = (1e6, 'million MACs') if unit == 'macs' else (1.0, unit)
    figure = new_figure(6.4, 4.4 + 0.4 * len(runs))
    axes = figure.add_subplot()
    for (name, group), colour in zip(runs.items(), _cycle(len(runs))):
        _draw_network(axes, name, group, colour, scale)
    axes.set_xlabel(f'mean cost per picture ({label})')
    axes.set_ylabel('top-1 accuracy (%)')
    axes.grid(alpha=0.3)
    axes.spines[['top', 'right']].set_visible(False)
    figure.legend(loc='outside lower center', frameon=False, fontsize=9)
    if title:
        axes.set_title(title)
    if path is not None:
        save_figure(figure, path)
    return figure


def _draw_network(
    axes: Axes, name: str, group: Sequence[EarlyExitRun], colour: str, scale: float
) -> None:
    seeds = f', {len(group)} runs' if len(group) > 1 else ''
    if all(run.budgeted for run in group):
        costs, mean, low, high = average_points([run.budgeted for run in group])
        label = f'{name}: leaving early (thresholds from held-out pictures{seeds})'
        axes.plot(costs / scale, mean, color=colour, lw=2, label=label, zorder=3)
        if seeds:
            axes.fill_between(costs / scale, low, high, color=colour, alpha=0.2, lw=0)
    costs, mean, low, high = average_points([run.anytime for run in group])
    label = f'{name}: everybody leaves at the same exit'
    axes.plot(costs / scale, mean, ':', color=colour, alpha=0.7, lw=1)
    axes.errorbar(
        costs / scale,
        mean,
        yerr=np.stack([mean - low, high - mean]) if seeds else None,
        fmt='s',
        color=colour,
        mfc='white',
        ms=5,
        capsize=2,
        label=label,
        zorder=4,
    )
    for number, (x, y) in enumerate(zip(costs / scale, mean), start=1):
        axes.annotate(
            str(number),
            (x, y),
            textcoords='offset points',
            xytext=(0, -13),
            ha='center',
            fontsize=8,
            color=colour,
        )


def _cycle(number: int) -> list[str]:
    return [COLOURS[i % len(COLOURS)] for i in range(number)]
