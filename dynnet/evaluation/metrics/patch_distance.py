"""Does a policy look where the cue is?"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from mmengine.evaluator import BaseMetric

from dynnet.registry import METRICS
from dynnet.utils.errors import DataError

from ..functional import sample_field


def random_patch_distance(
    centres: np.ndarray, frame_size: int, patch_size: int
) -> np.ndarray:
    """Expected distance of the middle of a random patch from a point.

    Corners are even over the integers from 0 to below ``frame_size - patch_size``, as
    the recognizers draw them.

    Args:
        centres: Points (..., 2), (y, x) in pixels.
        frame_size: Side of the frame.
        patch_size: Side of the patch.

    Returns:
        Distances (...,) in pixels.
    """
    corners = np.arange(max(frame_size - patch_size, 1))
    middles = corners + patch_size / 2
    dy = centres[..., 0, None] - middles
    dx = centres[..., 1, None] - middles
    return np.hypot(dy[..., :, None], dx[..., None, :]).mean((-1, -2))


@METRICS.register_module()
class PatchDistance(BaseMetric):
    """Mean distance between the patches' middles and the cue, in pixels.

    For data whose truth is known, see
    :class:`~dynnet.datasets.cue_truth.LoadCueTruth` (the pipeline's
    ``PackActionInputs`` needs ``algorithm_keys=('cue_centres',)``).

    Metrics: ``distance``; ``random_distance``, what random patches have on the same
    clips, exactly; ``ratio`` of the two; ``covered``, the share (%) of frames in which
    the cue's centre lies in the patch.

    Args:
        frame_size: Side of the frames.
        patch_size: Side of the patches.
        collect_device: See mmengine's BaseMetric.
        prefix: See mmengine's BaseMetric.
    """

    default_prefix = 'patch'

    def __init__(
        self,
        frame_size: int,
        patch_size: int,
        collect_device: str = 'cpu',
        prefix: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        self.frame_size, self.patch_size = frame_size, patch_size

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Keep three means per clip.

        Args:
            data_batch: Not used.
            data_samples: With ``corners`` (t, 2) of the patches, ``cue_centres``
                (T, 2), t <= T, and with or without ``broken``.
        """
        name = type(self).__name__
        for sample in data_samples:
            if sample.get('broken', False):
                self.results.append(None)
                continue
            corners = sample_field(sample, 'corners', name).astype(np.float64)
            centres = sample_field(sample, 'cue_centres', name)[: len(corners)]
            gaps = corners + self.patch_size / 2 - centres
            covered = (np.abs(gaps) <= self.patch_size / 2).all(-1)
            chance = random_patch_distance(centres, self.frame_size, self.patch_size)
            self.results.append(
                (np.hypot(*gaps.T).mean(), chance.mean(), covered.mean())
            )

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Average over the clips.

        Args:
            results: One entry per clip, None for a broken one.

        Returns:
            See the class.
        """
        clips = [result for result in results if result is not None]
        if not clips:
            raise DataError('PatchDistance got no clip that could be read')
        distance, chance, covered = np.mean(clips, axis=0).tolist()
        return dict(
            distance=distance,
            random_distance=chance,
            ratio=distance / chance,
            covered=100 * covered,
        )
