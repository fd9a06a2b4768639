"""What the samples cost, and where they left."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from mmengine.evaluator import BaseMetric

from dynnet.registry import METRICS
from dynnet.utils.errors import ConfigError, DataError

from ..functional import sample_field, sample_label, unit_key


@METRICS.register_module()
class CostMetric(BaseMetric):
    """Accuracy, cost and exits of a model that really stops early.

    Metrics: ``top1`` in percent, ``mean_macs`` and ``std_macs`` over the samples (the
    MACs that the samples carry, else the cost of their exit), and
    ``exit1_share``, ... in percent where the number of exits is known.

    Args:
        exit_costs: Cumulative cost per exit, or None; the loop sets it.
        cost_unit: Its unit.
        collect_device: See mmengine's BaseMetric.
        prefix: See mmengine's BaseMetric.
    """

    default_prefix = 'executed'
    modes = ('execute', 'exit')

    def __init__(
        self,
        exit_costs: Sequence[float] | None = None,
        cost_unit: str = 'MACs',
        collect_device: str = 'cpu',
        prefix: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        self.exit_costs = exit_costs
        self.cost_unit = cost_unit

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Keep exit, cost and correctness of each sample.

        Args:
            data_batch: Not used.
            data_samples: With ``gt_label``, ``pred_label``, ``exit_index`` and, where
                the model knows it, ``cost``.
        """
        name = type(self).__name__
        for sample in data_samples:
            exit_index = int(sample_field(sample, 'exit_index', name).reshape(-1)[0])
            # The model counts MACs; costs in another unit come from outside.
            if 'cost' in sample and self.cost_unit == 'MACs':
                cost = float(sample_field(sample, 'cost', name).reshape(-1)[0])
            elif self.exit_costs is not None:
                cost = float(self.exit_costs[exit_index])
            else:
                raise ConfigError(
                    f"{name}: the data samples have no 'cost' and the costs of the "
                    'exits are not known; test with dynnet.EarlyExitTestLoop or give '
                    'the metric exit_costs'
                )
            label = int(sample_field(sample, 'pred_label', name).reshape(-1)[0])
            self.results.append((exit_index, cost, label == sample_label(sample, name)))

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Compute the metrics of all samples.

        Args:
            results: One (exit index, cost, correct) per sample.

        Returns:
            See the class.
        """
        if not results:
            raise DataError('CostMetric got no samples: the dataloader is empty')
        exits, costs, correct = (np.asarray(column) for column in zip(*results))
        unit = unit_key(self.cost_unit)
        metrics = {
            'top1': 100 * float(correct.mean()),
            f'mean_{unit}': float(costs.mean()),
            f'std_{unit}': float(costs.std()),
        }
        num_exits = exits.max() + 1 if self.exit_costs is None else len(self.exit_costs)
        for k, count in enumerate(np.bincount(exits, minlength=num_exits)):
            metrics[f'exit{k + 1}_share'] = 100 * float(count / len(exits))
        return metrics
