"""Anything that a run logged, over its training."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from dynnet.utils.errors import DataError

from .figure import COLOURS, new_figure, save_figure

Curve = tuple[list[float], list[float]]


def read_scalar(path: str | os.PathLike, name: str, by: str = 'epoch') -> Curve:
    """Read a scalar from what mmengine logged.

    A run that was resumed has several logs; where they overlap, the later one counts.
    Of several entries of one epoch (an entry every few iterations) the mean is taken.

    Args:
        path: A ``scalars.json``, or a work folder.
        name: The scalar, such as ``'reward'`` or ``'video/top1'``.
        by: ``'epoch'`` or ``'iter'``. Metrics of a validation are logged by epoch.

    Returns:
        Where, and the values.

    Raises:
        DataError: No log, a line that is no JSON object, or none with this scalar; the
            file (and line) is named.
    """
    found: dict[float, dict[float, float]] = {}
    names: set[str] = set()
    for log in _logs(Path(path)):
        for step, epochs in _read_log(log, name, by, names).items():
            found[step] = epochs
    if not found:
        raise DataError(
            f'{path}: no {name!r} by {by}; it has {", ".join(sorted(names)) or "none"}'
        )
    steps = sorted(found)
    return steps, [sum(v.values()) / len(v) for v in map(found.get, steps)]


def _logs(path: Path) -> list[Path]:
    if path.is_dir():
        logs = sorted(path.glob('*/vis_data/scalars.json'))
        if not logs:
            raise DataError(f'{path}: no */vis_data/scalars.json in this folder')
        return logs
    if not path.is_file():
        raise DataError(f'{path}: no such file')
    return [path]


def _read_log(
    log: Path, name: str, by: str, names: set[str]
) -> dict[float, dict[float, float]]:
    """Values by place, and within it by the step that they were logged at."""
    found: dict[float, dict[float, float]] = {}
    for number, line in enumerate(log.read_text(encoding='utf-8').splitlines(), 1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
        except ValueError as error:
            raise DataError(f'{log}, line {number}: {error}') from error
        if not isinstance(entry, dict):
            raise DataError(f'{log}, line {number}: no JSON object')
        names.update(entry)
        if name not in entry:
            continue
        # A validation's entry has its epoch as the step.
        place = entry.get(by, entry.get('step') if by == 'epoch' else None)
        if place is not None:
            found.setdefault(place, {})[entry.get('step', number)] = entry[name]
    return found


def plot_scalar(
    runs: Mapping[str, Sequence[Curve]],
    path: str | os.PathLike,
    ylabel: str,
    xlabel: str = 'epoch',
    title: str | None = None,
) -> None:
    """Draw curves; of a name with several runs each thinly, their mean thickly.

    Args:
        runs: Curves by name. The mean goes over the places that all runs of it have.
        path: The picture; its extension says the format.
        ylabel: What is drawn.
        xlabel: Over what.
        title: Title.

    Raises:
        DataError: No curve.
    """
    if not any(runs.values()):
        raise DataError('there is no curve to draw')
    figure = new_figure(5.6, 3.4)
    axis = figure.subplots()
    for k, (name, curves) in enumerate(runs.items()):
        colour = COLOURS[k % len(COLOURS)]
        if len(curves) > 1:
            for x, y in curves:
                axis.plot(x, y, color=colour, alpha=0.35, linewidth=0.9)
        x, y = mean_curve(curves)
        axis.plot(x, y, color=colour, marker='o', markersize=3, label=name)
    axis.axhline(0, color='0.6', linewidth=0.8)
    axis.xaxis.get_major_locator().set_params(integer=True)
    axis.set_xlabel(xlabel)
    axis.set_ylabel(ylabel)
    if len(runs) > 1:
        axis.legend()
    if title:
        axis.set_title(title)
    save_figure(figure, path)


def mean_curve(curves: Sequence[Curve]) -> Curve:
    """The mean of curves, over the places that all of them have."""
    tables = [dict(zip(x, y)) for x, y in curves]
    places = sorted(set.intersection(*(set(table) for table in tables)))
    return places, [sum(t[p] for t in tables) / len(tables) for p in places]
