"""Accuracy and calibration of every exit."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from mmengine.evaluator import BaseMetric

from dynnet.registry import METRICS
from dynnet.utils.errors import ConfigError, DataError

from ..functional import (
    calibration_error,
    check_exit_costs,
    format_cost,
    sample_field,
    sample_label,
    unit_key,
)


@METRICS.register_module()
class AnytimeAccuracy(BaseMetric):
    """Anytime prediction: accuracy at each exit against its cumulative cost.

    Needs a model in mode ``simulate``. Works in any mmengine loop; under
    :class:`~dynnet.engine.runner.EarlyExitTestLoop` the costs appear beside the
    accuracies.

    Metrics for every exit, from 1: ``exit1_top1`` and ``exit1_ece`` (expected
    calibration error) in percent; where the costs are known ``exit1_macs``, and where
    the model knows them ``exit1_published_flops``. Then ``last_top1`` and
    ``mean_top1``, the last exit's accuracy and the mean over the exits.

    Args:
        topk: For which k an exit counts as right when the label is among its k best;
            k = 1 is always reported.
        num_bins: Bins of the calibration error.
        exit_costs: Cumulative cost per exit, or None; the loop sets it.
        cost_unit: Its unit.
        collect_device: See mmengine's BaseMetric.
        prefix: See mmengine's BaseMetric.
    """

    default_prefix = 'anytime'
    modes = ('simulate',)

    def __init__(
        self,
        topk: int | Sequence[int] = (1,),
        num_bins: int = 15,
        exit_costs: Sequence[float] | None = None,
        cost_unit: str = 'MACs',
        collect_device: str = 'cpu',
        prefix: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        self.topk = sorted({1, *([topk] if isinstance(topk, int) else topk)})
        self.num_bins = num_bins
        self.exit_costs = exit_costs
        self.cost_unit = cost_unit
        self.published_flops: Sequence[float] | None = None
        self._rows: list[dict[str, float]] = []

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Keep E confidences and E x len(topk) hits per sample.

        Args:
            data_batch: Not used.
            data_samples: With ``gt_label``, ``exit_labels`` (E, K) and ``exit_confs``
                (E,).
        """
        name = type(self).__name__
        for sample in data_samples:
            labels = sample_field(sample, 'exit_labels', name)
            if labels.shape[1] < self.topk[-1]:
                raise ConfigError(
                    f'{name} asks for the top {self.topk[-1]}, the model keeps '
                    f"{labels.shape[1]} labels per exit: set the head's topk"
                )
            hits = labels == sample_label(sample, name)
            top = np.stack([hits[:, :k].any(axis=1) for k in self.topk], axis=1)
            # A copy: a view would keep the whole batch.
            confs = sample_field(sample, 'exit_confs', name).copy()
            self.results.append((confs, top))

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Compute the metrics of all samples.

        Args:
            results: One (confidences (E,), hits (E, len(topk))) per sample.

        Returns:
            See the class.
        """
        if not results:
            raise DataError('AnytimeAccuracy got no samples: the dataloader is empty')
        confidences = np.stack([conf for conf, _ in results], axis=1)
        hits = np.stack([top for _, top in results], axis=1)
        accuracy = 100 * hits.mean(axis=1)
        costs = {
            unit_key(self.cost_unit): self.exit_costs,
            'published_flops': self.published_flops,
        }
        self._rows = []
        for k in range(len(hits)):
            row = {f'top{top}': float(a) for top, a in zip(self.topk, accuracy[k])}
            ece = calibration_error(confidences[k], hits[k, :, 0], self.num_bins)
            row['ece'] = 100 * ece
            for key, values in costs.items():
                values = check_exit_costs(values, len(hits), type(self).__name__)
                if values is not None:
                    row[key] = float(values[k])
            self._rows.append(row)
        metrics = {
            f'exit{k}_{key}': value
            for k, row in enumerate(self._rows, start=1)
            for key, value in row.items()
        }
        for j, top in enumerate(self.topk):
            metrics[f'last_top{top}'] = float(accuracy[-1, j])
            metrics[f'mean_top{top}'] = float(accuracy[:, j].mean())
        return metrics

    def table(self) -> tuple[str, list[str], list[list[str]]]:
        """What was evaluated last, for people: title, header and rows.

        Only the main process has rows.
        """
        header = ['exit', *(self._rows[0] if self._rows else ())]
        rows = []
        for k, row in enumerate(self._rows, start=1):
            cells = [
                format_cost(value, key.removeprefix('published_'))
                if key in ('published_flops', unit_key(self.cost_unit))
                else f'{value:.2f}'
                for key, value in row.items()
            ]
            rows.append([str(k), *cells])
        return 'Anytime accuracy (%) per exit', header, rows
