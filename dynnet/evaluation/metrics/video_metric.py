"""Accuracy and mean average precision of clips."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from mmengine.evaluator import BaseMetric

from dynnet.registry import METRICS
from dynnet.utils.errors import ConfigError, DataError

from ..functional import (
    average_precisions,
    sample_field,
    sample_label,
    softmax,
    top_k_accuracy,
)

MAP_LABELS = ('first', 'all')


@METRICS.register_module()
class VideoMetric(BaseMetric):
    """Top-k accuracy and mean average precision (mAP) over clips, in percent.

    A clip that could not be read (``broken`` in its meta information, see
    :class:`~dynnet.datasets.video_datasets.VideoListDataset`) is left out and counted.

    Metrics: ``top1``, ...; ``mAP``, the mean over the classes that have a clip, AP
    being the mean over a class's clips of the precision at their rank; where the model
    says what a clip cost, ``mean_macs``; ``num_clips`` and ``num_broken``.

    Note (differs): the published evaluation draws one of the labels of a clip at random
    for ``first`` (ActivityNet); here it is the lowest, so that a result repeats itself.

    Args:
        topk: For which k a clip counts as right when its (first) label is among the k
            best.
        mean_ap: None for no mAP; ``'first'``, one label per clip (ActivityNet);
            ``'all'``, every label of a clip is a positive (FCVID; the pipeline's
            ``PackActionInputs`` needs ``algorithm_keys=('labels',)``).
        logits: The scores of the data samples are logits. AP compares scores between
            clips, so they are brought to probabilities.
        collect_device: See mmengine's BaseMetric.
        prefix: See mmengine's BaseMetric.

    Example:
        >>> val_evaluator = dict(type='dynnet.VideoMetric', topk=(1,), mean_ap='first')
    """

    default_prefix = 'video'

    def __init__(
        self,
        topk: int | Sequence[int] = (1, 5),
        mean_ap: str | None = None,
        logits: bool = False,
        collect_device: str = 'cpu',
        prefix: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        if mean_ap not in (None, *MAP_LABELS):
            raise ConfigError(
                f"VideoMetric: mean_ap={mean_ap!r} must be None, 'first' or 'all'"
            )
        self.topk = tuple([topk] if isinstance(topk, int) else topk)
        self.mean_ap, self.logits = mean_ap, logits

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Keep scores and labels.

        Args:
            data_batch: Not used.
            data_samples: With ``gt_label`` (1,), ``pred_score`` (K,), with
                ``mean_ap='all'`` also ``labels``, and with or without ``cost`` (MACs).
        """
        name = type(self).__name__
        for sample in data_samples:
            if sample.get('broken', False):
                self.results.append(None)  # one entry per clip: the loop counts them
                continue
            scores = sample_field(sample, 'pred_score', name).astype(np.float64)
            label = sample_label(sample, name)
            labels = [label]
            if self.mean_ap == 'all':
                labels = sample_field(sample, 'labels', name).ravel().tolist()
            self.results.append((scores.copy(), label, labels, sample.get('cost')))

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Compute the metrics of all clips.

        Args:
            results: One entry per clip, None for a broken one.

        Returns:
            See the class.
        """
        clips = [result for result in results if result is not None]
        if not clips:
            raise DataError(
                f'VideoMetric got no clip that could be read ({len(results)} broken)'
            )
        scores = np.stack([clip[0] for clip in clips])
        if self.logits:
            scores = softmax(scores)
        labels = np.array([clip[1] for clip in clips])
        metrics = {
            f'top{k}': 100 * top_k_accuracy(scores, labels, k) for k in self.topk
        }
        if self.mean_ap is not None:
            positives = np.zeros(scores.shape, bool)
            for row, clip in zip(positives, clips):
                row[clip[2]] = True
            metrics['mAP'] = 100 * float(
                np.nanmean(average_precisions(scores, positives))
            )
        if all(clip[3] is not None for clip in clips):
            metrics['mean_macs'] = float(np.mean([float(clip[3]) for clip in clips]))
        metrics['num_clips'] = len(clips)
        metrics['num_broken'] = len(results) - len(clips)
        return metrics
