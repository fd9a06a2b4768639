"""Accuracy against average cost, with thresholds from calibration data."""

import os
from typing import Any

from dynnet.models.exits import ExitThresholds, evaluate_thresholds
from dynnet.registry import METRICS
from dynnet.utils.errors import ConfigError

from ..functional import format_cost, format_shares, unit_key
from .calibration_table import CalibrationTable


@METRICS.register_module()
class BudgetedBatchMetric(CalibrationTable):
    """Budgeted-batch classification: the accuracy-cost curve of the test set.

    Each operating point's thresholds were solved on calibration data only; here they
    are applied to the test samples, and the cost is the one that these samples realise.
    Which data calibrate is the config's choice (``calib_dataloader`` of
    :class:`~dynnet.engine.runner.EarlyExitTestLoop`): a hold-out with the test
    transform is clean, one with the training transform is what published scripts do.

    Needs a model in mode ``simulate``. Metrics, for every point NAME (``p10``,
    ``budget20000000``): ``NAME_top1`` in percent and ``NAME_macs``.

    Attributes:
        curve: After evaluation, on the main process: per point ``name``, ``accuracy``,
            ``cost``, ``exit_fractions``.

    Args:
        calibration: The solved operating points or the path of their JSON file; None
            where the loop sets it.
        collect_device: See mmengine's BaseMetric.
        prefix: See mmengine's BaseMetric.
    """

    default_prefix = 'budgeted'

    def __init__(
        self,
        calibration: ExitThresholds | str | os.PathLike | None = None,
        collect_device: str = 'cpu',
        prefix: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        if calibration is not None and not isinstance(calibration, ExitThresholds):
            calibration = ExitThresholds.load(calibration)
        self.calibration = calibration
        self.curve: list[dict[str, Any]] = []

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Apply every operating point.

        Args:
            results: One (scores (E,), correct (E,)) per sample.

        Returns:
            See the class.

        Raises:
            ConfigError: There are no operating points.
            DataError: There are no samples.
            ValueError: The points are for another number of exits.
        """
        if self.calibration is None:
            raise ConfigError(
                'BudgetedBatchMetric has no thresholds: use dynnet.EarlyExitTestLoop '
                'with a calib_dataloader, or give the metric a thresholds file '
                '(calibration=...)'
            )
        table = super().compute_metrics(results)
        unit = unit_key(self.calibration.cost_unit)
        self.curve, metrics = [], {}
        for point in self.calibration.points:
            cost, accuracy, fractions = evaluate_thresholds(
                table['scores'],
                point.thresholds,
                self.calibration.exit_costs,
                table['correct'],
            )
            self.curve.append(
                dict(
                    name=point.name,
                    accuracy=accuracy,
                    cost=cost,
                    exit_fractions=fractions.tolist(),
                )
            )
            metrics[f'{point.name}_top1'] = accuracy
            metrics[f'{point.name}_{unit}'] = cost
        return metrics

    def table(self) -> tuple[str, list[str], list[list[str]]]:
        """What was evaluated last, for people: title, header and rows.

        Only the main process has rows.
        """
        unit = self.calibration.cost_unit if self.calibration else ''
        header = [
            'point',
            f'{unit} calib',
            f'{unit} test',
            'top1 test',
            'left at exit %',
        ]
        rows = [
            [
                row['name'],
                format_cost(point.expected_cost, unit),
                format_cost(row['cost'], unit),
                f'{row["accuracy"]:.2f}',
                format_shares(row['exit_fractions']),
            ]
            for row, point in zip(
                self.curve, self.calibration.points if self.calibration else ()
            )
        ]
        return 'Budgeted batch: accuracy (%) against mean cost per sample', header, rows
