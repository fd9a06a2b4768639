"""Scores and correctness of every sample at every exit."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from mmengine.evaluator import BaseMetric

from dynnet.registry import METRICS
from dynnet.utils.errors import DataError

from ..functional import sample_field, sample_label


@METRICS.register_module()
class CalibrationTable(BaseMetric):
    """Collect what thresholds are solved on, from all ranks, without padded samples.

    Metrics: ``scores`` (E, N) float32 and ``correct`` (E, N) bool.
    """

    default_prefix = 'calibration'
    modes = ('simulate',)

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Keep E scores and E hits per sample.

        Args:
            data_batch: Not used.
            data_samples: With ``gt_label``, ``exit_labels`` (E, K), ``exit_scores``
                (E,).
        """
        name = type(self).__name__
        for sample in data_samples:
            labels = sample_field(sample, 'exit_labels', name)
            correct = labels[:, 0] == sample_label(sample, name)
            # A copy: a view would keep the whole batch.
            scores = sample_field(sample, 'exit_scores', name).copy()
            self.results.append((scores, correct))

    def compute_metrics(self, results: list) -> dict[str, np.ndarray]:
        """Stack the samples.

        Args:
            results: One (scores (E,), correct (E,)) per sample.

        Returns:
            See the class.
        """
        if not results:
            raise DataError('no samples to calibrate on: the dataloader is empty')
        return dict(
            scores=np.stack([scores for scores, _ in results], axis=1),
            correct=np.stack([correct for _, correct in results], axis=1),
        )
