"""What gates kept, and what that cost."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from mmengine.evaluator import BaseMetric

from dynnet.registry import METRICS
from dynnet.utils.errors import DataError

from ..functional import sample_field


@METRICS.register_module()
class GateCostMetric(BaseMetric):
    """Cost and density of a model with gates, over the samples.

    Metrics: ``mean_macs`` and ``std_macs`` per picture, ``macs_ratio`` in percent of
    computing everything, ``density``, the mean share of patches in percent, and
    ``block_min`` and ``block_max``, that share in the least and the most used block.

    Args:
        collect_device: See mmengine's BaseMetric.
        prefix: See mmengine's BaseMetric.
    """

    default_prefix = 'gates'

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Keep each sample's cost and densities.

        Args:
            data_batch: Not used.
            data_samples: With ``macs``, ``macs_ratio`` and ``densities``.
        """
        for sample in data_samples:
            macs, ratio, densities = (
                np.asarray(sample_field(sample, key, 'GateCostMetric'), float).ravel()
                for key in ('macs', 'macs_ratio', 'densities')
            )
            self.results.append((macs[0], ratio[0], densities))

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Compute the metrics of all samples.

        Args:
            results: One (MACs, ratio, densities) per sample.

        Returns:
            See the class.
        """
        if not results:
            raise DataError('GateCostMetric got no samples: the dataloader is empty')
        macs, ratios, densities = (np.stack(column) for column in zip(*results))
        blocks = densities.mean(0)
        return dict(
            mean_macs=float(macs.mean()),
            std_macs=float(macs.std()),
            macs_ratio=100 * float(ratios.mean()),
            density=100 * float(blocks.mean()),
            block_min=100 * float(blocks.min()),
            block_max=100 * float(blocks.max()),
        )
