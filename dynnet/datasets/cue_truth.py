"""The truth of the moving-cue set, for the clip's frames."""

import os.path as osp

import numpy as np
from mmcv.transforms import BaseTransform

from dynnet.registry import TRANSFORMS
from dynnet.utils.errors import DataError


@TRANSFORMS.register_module()
class LoadCueTruth(BaseTransform):
    """Look up where the cue is in the chosen frames.

    For the set of ``tools/dataset_converters/make_moving_cue.py``. The pipeline may
    resize the frames before this step, but must not crop or flip them.

    Args:
        truth_file: ``SPLIT_truth.npz``.
        data_root: The set's folder, which ``truth_file`` and its paths start from.

    Raises:
        DataError: The file is missing or no such file, or does not know a clip.
    """

    def __init__(self, truth_file: str, data_root: str = '') -> None:
        self.path = osp.join(data_root, truth_file)
        self.data_root = data_root
        self._centres: dict[str, np.ndarray] | None = None

    def transform(self, results: dict) -> dict:
        """Look the clip up.

        Args:
            results: With ``filename``, ``frame_inds``, ``img_shape`` and
                ``original_shape``.

        Returns:
            The sample with ``cue_centres`` (T, 2) float32: (y, x) in pixels.
        """
        if self._centres is None:
            self._centres = self._load()
        name = osp.relpath(results['filename'], self.data_root or '.')
        if name not in self._centres:
            raise DataError(f'{self.path} does not know {name}')
        # A broken clip's black frame stands for all of them.
        index = np.minimum(results['frame_inds'], len(self._centres[name]) - 1)
        scale = np.divide(results['img_shape'], results['original_shape'])
        results['cue_centres'] = (self._centres[name][index] * scale).astype(np.float32)
        return results

    def _load(self) -> dict[str, np.ndarray]:
        try:
            with np.load(self.path, allow_pickle=False) as arrays:
                return dict(zip(arrays['paths'].tolist(), arrays['centres']))
        except FileNotFoundError as error:
            raise DataError(f'{self.path} does not exist') from error
        except (OSError, ValueError, KeyError) as error:
            raise DataError(f'{self.path} is no file of truth: {error}') from error
