"""Pictures and labels in one npz file."""

import os.path as osp
import zipfile
import zlib
from collections.abc import Sequence

import numpy as np
from mmpretrain.datasets import BaseDataset

from dynnet.registry import DATASETS
from dynnet.utils.errors import DataError

from .checks import label_problem


@DATASETS.register_module()
class NPZDataset(BaseDataset):
    """Classification from the arrays of an ``.npz`` file.

    The pictures go into the pipeline as ``img``, as they lie in the file: the data
    preprocessor's ``to_rgb`` has to say whether their channels must be swapped.

    Args:
        ann_file: The file; relative to ``data_root``.
        data_root: Folder of the file.
        split: Name of the split; fills ``{split}`` in the two keys.
        image_key: Key of the pictures, (N, H, W) or (N, H, W, C) uint8, C = 1 or 3.
        label_key: Key of the labels, (N,) integers from 0.
        metainfo: Meta information. With ``classes`` the labels must be below their
            number.
        indices: Use only the first so many samples, or these.
        **kwargs: Other arguments of :class:`mmpretrain.datasets.BaseDataset`.

    Raises:
        DataError: The file is missing or damaged, or an array is not as said above; the
            message names file and key.

    Example:
        >>> dict(type='dynnet.NPZDataset', data_root='data', ann_file='cifar10.npz',
        ...      split='train', metainfo=dict(classes=[str(i) for i in range(10)]))
    """

    def __init__(
        self,
        ann_file: str,
        data_root: str = '',
        split: str = 'train',
        image_key: str = 'x_{split}',
        label_key: str = 'y_{split}',
        metainfo: dict | None = None,
        indices: int | Sequence[int] | None = None,
        **kwargs,
    ) -> None:
        self.image_key = image_key.format(split=split)
        self.label_key = label_key.format(split=split)
        super().__init__(
            ann_file=ann_file,
            data_root=data_root,
            metainfo=metainfo,
            indices=indices,
            **kwargs,
        )

    def load_data_list(self) -> list[dict]:
        """Load and check the two arrays.

        Returns:
            One ``dict(img=..., gt_label=...)`` for every picture.
        """
        images, labels = self._load_arrays()
        self._check_images(images)
        self._check_labels(labels, len(images))
        return [
            dict(img=image, gt_label=int(label))
            for image, label in zip(images, labels, strict=True)
        ]

    def _load_arrays(self) -> tuple[np.ndarray, np.ndarray]:
        path = self.ann_file
        if not osp.isfile(path):
            raise DataError(f'{path} does not exist')
        try:
            # An array of objects is a pickle, which could run code: refused.
            arrays = np.load(path, allow_pickle=False)
            if not isinstance(arrays, np.lib.npyio.NpzFile):
                raise ValueError('it holds a single array')
            with arrays:
                self._check_keys(arrays.files)
                return arrays[self.image_key], arrays[self.label_key]
        except DataError:
            raise
        except (OSError, EOFError, ValueError, zipfile.BadZipFile, zlib.error) as error:
            raise DataError(f'{path} is damaged or no npz file: {error}') from error

    def _check_keys(self, keys: list[str]) -> None:
        for key in (self.image_key, self.label_key):
            if key not in keys:
                raise DataError(
                    f'{self.ann_file} has no array {key}; it has {", ".join(keys)}'
                )

    def _check_images(self, images: np.ndarray) -> None:
        channels = images.shape[3] if images.ndim == 4 else 1
        if (
            images.ndim not in (3, 4)
            or channels not in (1, 3)
            or images.dtype != np.uint8
        ):
            raise DataError(
                f'{self.ann_file}: {self.image_key} must be uint8 of shape (N, H, W), '
                f'(N, H, W, 1) or (N, H, W, 3), but is {images.dtype} of shape '
                f'{images.shape}'
            )

    def _check_labels(self, labels: np.ndarray, num_images: int) -> None:
        where = f'{self.ann_file}: {self.label_key}'
        if labels.shape != (num_images,) or labels.dtype.kind not in 'iu':
            raise DataError(
                f'{where} must be integers of shape ({num_images},), one for every '
                f'picture, but is {labels.dtype} of shape {labels.shape}'
            )
        num_classes = None if self.CLASSES is None else len(self.CLASSES)
        for index, label in enumerate(labels.tolist()):
            problem = label_problem(label, num_classes)
            if problem:
                raise DataError(f'{where}[{index}]: {problem}')
