"""Operating points of an early-exit network, and their JSON file."""

import json
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from dynnet.utils.atomic import write_atomic
from dynnet.utils.errors import ConfigError

from .assign import check_thresholds

FORMAT = 'dynnet-exit-thresholds'
VERSION = 1


@dataclass
class OperatingPoint:
    """One setting of the thresholds, and what it gave on the calibration samples.

    Attributes:
        thresholds: One per exit but the last; +inf: nobody leaves there.
        expected_cost: Mean cost per sample.
        expected_accuracy: In percent, or None.
        exit_fractions: Fraction of the samples that left at each exit.
        p: What was asked for: a p of the classic grid,
        budget: a mean cost,
        shares: or exit shares.
        name: What it is called in tables and metrics; follows from the above.
    """

    thresholds: list[float]
    expected_cost: float
    expected_accuracy: float | None = None
    exit_fractions: list[float] = field(default_factory=list)
    p: float | None = None
    budget: float | None = None
    shares: list[float] | None = None
    name: str | None = None

    def __post_init__(self) -> None:
        if self.name is None:
            if self.p is not None:
                self.name = f'p{self.p:g}'
            elif self.budget is not None:
                self.name = f'budget{self.budget:.10g}'
            elif self.shares is not None:
                self.name = 'shares' + '-'.join(f'{s:g}' for s in self.shares)
            else:
                self.name = f'cost{self.expected_cost:.10g}'

    def to_dict(self) -> dict[str, Any]:
        """The point as JSON has it: +inf becomes null, what is unset is left out."""
        data = {k: v for k, v in vars(self).items() if v is not None}
        data['thresholds'] = [None if math.isinf(t) else t for t in self.thresholds]
        return data


@dataclass
class ExitThresholds:
    """Operating points solved for one network and criterion.

    Attributes:
        criterion: Config of the exit criterion, e.g. ``dict(type='MaxSoftmax')``.
        exit_costs: Shape (E,), cumulative cost per exit.
        points: The operating points.
        cost_unit: ``'MACs'``, ``'ms'``, ...
        calibration: ``num_samples`` and ``split``, a description of the samples.
    """

    criterion: dict[str, Any]
    exit_costs: list[float]
    points: list[OperatingPoint]
    cost_unit: str = 'MACs'
    calibration: dict[str, Any] = field(default_factory=dict)

    @property
    def num_exits(self) -> int:
        return len(self.exit_costs)

    def choose(self, budget: float) -> OperatingPoint:
        """The point with the largest expected cost within a budget.

        Args:
            budget: Mean cost per sample, in ``cost_unit``.

        Returns:
            The point; of equally dear ones the most accurate.

        Raises:
            ValueError: The budget is below the first exit's cost or that of every
                point, or above the last exit's cost; the limit is named.
        """
        check_budget(budget, self.exit_costs, self.cost_unit)
        fitting = [p for p in self.points if p.expected_cost <= budget]
        if not fitting:
            cheapest = min(p.expected_cost for p in self.points)
            raise ConfigError(
                f'no operating point costs as little as {budget:g} {self.cost_unit}: '
                f'the cheapest stored one needs {cheapest:g}; solve the thresholds '
                'anew for this budget'
            )
        return max(fitting, key=lambda p: (p.expected_cost, p.expected_accuracy or 0.0))

    def check_model(self, criterion: dict[str, Any], num_exits: int) -> None:
        """Refuse a model that these thresholds were not solved for.

        Args:
            criterion: Config of the model's criterion.
            num_exits: The model's number of exits.

        Raises:
            ValueError: Names what differs.
        """
        if num_exits != self.num_exits:
            raise ConfigError(
                f'the thresholds are for {self.num_exits} exits, the model has '
                f'{num_exits}'
            )
        if _normalised(criterion) != _normalised(self.criterion):
            raise ConfigError(
                f'the thresholds were solved for the criterion {self.criterion}, the '
                f'model uses {dict(criterion)}'
            )

    def to_dict(self) -> dict[str, Any]:
        """The content of the JSON file."""
        return dict(
            format=FORMAT,
            version=VERSION,
            criterion=dict(self.criterion),
            num_exits=self.num_exits,
            cost_unit=self.cost_unit,
            exit_costs=list(self.exit_costs),
            calibration=dict(self.calibration),
            points=[point.to_dict() for point in self.points],
        )

    @classmethod
    def from_dict(cls, data: Any, source: str = 'exit thresholds') -> 'ExitThresholds':
        """Build from the content of a JSON file.

        Args:
            data: The content.
            source: Where it comes from; begins the error message.

        Returns:
            The thresholds.

        Raises:
            ValueError: Something is missing or wrong; source and key are named.
        """
        try:
            return _parse(data)
        except ValueError as e:
            raise ConfigError(f'{source}: {e}') from None

    def save(self, path: str | os.PathLike) -> None:
        """Write the JSON file; an existing one is replaced only by a complete one.

        Args:
            path: The file. Its folder is made when missing.
        """
        text = json.dumps(self.to_dict(), indent=2, allow_nan=False) + '\n'
        write_atomic(path, text.encode())

    @classmethod
    def load(cls, path: str | os.PathLike) -> 'ExitThresholds':
        """Read a JSON file.

        Args:
            path: The file.

        Returns:
            The thresholds.

        Raises:
            FileNotFoundError: There is no such file.
            ValueError: It is not what :meth:`save` writes; file and key are named.
        """
        if not Path(path).is_file():
            raise FileNotFoundError(f'thresholds file {path} does not exist')
        try:
            data = json.loads(Path(path).read_text())
        except ValueError as e:
            raise ConfigError(f'{path}: not a JSON file: {e}') from None
        return cls.from_dict(data, source=str(path))


def check_costs(
    costs: Sequence[float] | np.ndarray, num_exits: int | None = None
) -> np.ndarray:
    """Turn cumulative exit costs into a valid array.

    Args:
        costs: One per exit.
        num_exits: E, or None for any.

    Returns:
        Shape (E,), float64.

    Raises:
        ValueError: Wrong length, not positive, or falling from one exit to the next.
    """
    array = np.asarray(costs, dtype=np.float64)
    if array.ndim != 1 or array.size == 0 or num_exits not in (None, array.size):
        raise ConfigError(
            f'there must be one cost per exit ({num_exits}), got {array.size}'
        )
    if not (np.isfinite(array).all() and array[0] > 0 and (np.diff(array) >= 0).all()):
        raise ConfigError(
            'exit costs are cumulative: positive and never falling, got '
            f'{array.tolist()}'
        )
    return array


def check_budget(
    budget: float, costs: Sequence[float] | np.ndarray, unit: str = ''
) -> None:
    """Refuse a mean cost that no thresholds can reach.

    Args:
        budget: Mean cost per sample.
        costs: Shape (E,), cumulative cost per exit.
        unit: Named in the message.

    Raises:
        ValueError: Below the first or above the last exit's cost, which is named.
    """
    unit = f' {unit}' if unit else ''
    # Every digit, so that the limit can be copied from the message.
    if not budget >= costs[0]:
        raise ConfigError(
            f'budget {budget:.15g}{unit} is below the minimum {costs[0]:.15g}{unit}, '
            'the cost of the first exit'
        )
    if budget > costs[-1]:
        raise ConfigError(
            f'budget {budget:.15g}{unit} is above the maximum {costs[-1]:.15g}{unit}, '
            'the cost of the last exit'
        )


def _parse(data: Any) -> ExitThresholds:
    if not isinstance(data, dict) or data.get('format') != FORMAT:
        raise ConfigError(f"not exit thresholds: the key 'format' must be {FORMAT!r}")
    if data.get('version') != VERSION:
        raise ConfigError(
            f"key 'version' is {data.get('version')!r}, this release reads {VERSION}"
        )
    criterion = _take(data, 'criterion', dict)
    if not isinstance(criterion.get('type'), str):
        raise ConfigError("key 'criterion' has no 'type'")
    costs = [float(c) for c in _take(data, 'exit_costs', list, numbers=True)]
    try:
        check_costs(costs, _take(data, 'num_exits', int))
    except ValueError as e:
        raise ConfigError(f"key 'exit_costs': {e}") from None
    points = _take(data, 'points', list)
    if not points:
        raise ConfigError("key 'points' is empty")
    return ExitThresholds(
        criterion=criterion,
        exit_costs=costs,
        points=[
            _parse_point(p, f'points[{i}]', len(costs)) for i, p in enumerate(points)
        ],
        cost_unit=_take(data, 'cost_unit', str),
        calibration=_take(data, 'calibration', dict),
    )


def _parse_point(data: Any, key: str, num_exits: int) -> OperatingPoint:
    if not isinstance(data, dict):
        raise ConfigError(f'key {key!r} must be a dict, got {type(data).__name__}')
    try:
        raw = _take(data, 'thresholds', list, numbers=True, null=True)
        thresholds = check_thresholds(raw, num_exits).tolist()
        cost = float(_take(data, 'expected_cost', (int, float)))
        if data.get('expected_accuracy') is not None:
            _take(data, 'expected_accuracy', (int, float))
        fractions = data.get('exit_fractions') or []
        if len(
            _take({'exit_fractions': fractions}, 'exit_fractions', list, True)
        ) not in (0, num_exits):
            raise ConfigError(
                f"'exit_fractions' has {len(fractions)} entries, not {num_exits}"
            )
        point = OperatingPoint(
            **{**data, 'thresholds': thresholds, 'expected_cost': cost}
        )
    except (TypeError, ValueError) as e:
        raise ConfigError(f'key {key!r}: {e}') from None
    return point


def _take(
    data: dict, key: str, kind: Any, numbers: bool = False, null: bool = False
) -> Any:
    value = data.get(key)
    if not isinstance(value, kind) or isinstance(value, bool):
        name = 'number' if isinstance(kind, tuple) else kind.__name__
        raise ConfigError(f'key {key!r} must be a {name}, got {value!r}')
    if numbers:
        for i, item in enumerate(value):
            number = isinstance(item, (int, float)) and not isinstance(item, bool)
            if not (number or (null and item is None)):
                raise ConfigError(f'key {key!r}[{i}] must be a number, got {item!r}')
    return value


def _normalised(criterion: dict[str, Any]) -> dict[str, Any]:
    settings = dict(criterion)
    settings['type'] = settings['type'].removeprefix('dynnet.')
    # The patience is the threshold itself, not part of the score.
    settings.pop('patience', None)
    return settings
