"""Seeded parts of any dataset: a hold-out split, a smaller training set."""

import copy
from collections.abc import Sequence

import numpy as np
from mmengine.dataset import BaseDataset

from dynnet.registry import DATASETS
from dynnet.utils.errors import ConfigError


class IndexedDataset:
    """Some samples of a dataset, chosen when its length is known.

    It speaks mmengine's protocol of dataset wrappers, so it may wrap and be wrapped.

    Args:
        dataset: Config of the dataset, or the dataset.
        lazy_init: Leave loading to :meth:`full_init`.
    """

    def __init__(self, dataset: dict | BaseDataset, lazy_init: bool = False) -> None:
        if isinstance(dataset, dict):
            dataset = DATASETS.build(dataset)
        self.dataset = dataset
        self._fully_initialized = False
        if not lazy_init:
            self.full_init()

    def choose(self, length: int) -> np.ndarray:
        """Choose the samples.

        Args:
            length: Number of samples of the wrapped dataset.

        Returns:
            (M,) int64 indices into it.
        """
        raise NotImplementedError

    @property
    def metainfo(self) -> dict:
        """Meta information of the wrapped dataset."""
        return copy.deepcopy(self.dataset.metainfo)

    def full_init(self) -> None:
        """Load the wrapped dataset and choose the samples."""
        if not self._fully_initialized:
            self.dataset.full_init()
            self.indices = self.choose(len(self.dataset))
            self._fully_initialized = True

    def get_data_info(self, idx: int) -> dict:
        """Annotation of one sample.

        Args:
            idx: Index into this part.
        """
        self.full_init()
        return self.dataset.get_data_info(int(self.indices[idx]))

    def get_cat_ids(self, idx: int) -> Sequence[int]:
        """Categories of one sample.

        Args:
            idx: Index into this part.
        """
        self.full_init()
        return self.dataset.get_cat_ids(int(self.indices[idx]))

    def get_gt_labels(self) -> np.ndarray:
        """Labels of all samples (M,), for classification datasets."""
        self.full_init()
        return self.dataset.get_gt_labels()[self.indices]

    def __len__(self) -> int:
        self.full_init()
        return len(self.indices)

    def __getitem__(self, idx: int) -> dict:
        self.full_init()
        return self.dataset[int(self.indices[idx])]

    def _check_size(self, name: str, size: int, length: int) -> None:
        if not 0 < size <= length:
            raise ConfigError(
                f'dynnet.{type(self).__name__}: {name}={size} must be between 1 and '
                f'{length}, the number of samples of {type(self.dataset).__name__}'
            )


@DATASETS.register_module()
class HoldoutSubset(IndexedDataset):
    """One side of a seeded split of a dataset.

    The two sides of the same ``size`` and ``seed`` have no sample in common and make up
    the whole dataset. Give them the training set twice, with the pipeline that each
    side needs: the training transforms for ``'train'``, the test transforms for
    ``'holdout'`` (early exit thresholds are solved on it).

    Args:
        dataset: Config of the dataset, or the dataset; of any toolbox.
        size: Number of samples that are held out.
        part: ``'train'`` (the others) or ``'holdout'``.
        seed: Seed of the split. It has nothing to do with the seed of the run.
        lazy_init: Leave loading to :meth:`full_init`.

    Raises:
        ConfigError: ``size`` leaves one side empty, or ``part`` is something else.

    Example:
        >>> dict(type='dynnet.HoldoutSubset', size=5000, part='holdout',
        ...      dataset=dict(type='FashionMNIST', data_root='data/fashion_mnist'))
    """

    def __init__(
        self,
        dataset: dict | BaseDataset,
        size: int,
        part: str,
        seed: int = 0,
        lazy_init: bool = False,
    ) -> None:
        if part not in ('train', 'holdout'):
            raise ConfigError(
                f"dynnet.HoldoutSubset: part={part!r} must be 'train' or 'holdout'"
            )
        self.size, self.part, self.seed = size, part, seed
        super().__init__(dataset, lazy_init)

    def choose(self, length: int) -> np.ndarray:
        """Choose this side, in the order of the dataset.

        Args:
            length: Number of samples of the wrapped dataset.

        Returns:
            (M,) int64 indices into it.
        """
        self._check_size('size', self.size, length - 1)
        order = np.random.default_rng(self.seed).permutation(length)
        holdout, train = order[: self.size], order[self.size :]
        return np.sort(holdout if self.part == 'holdout' else train)


@DATASETS.register_module()
class Subset(IndexedDataset):
    """A seeded random part of a dataset.

    A larger ``num`` with the same seed contains the smaller one.

    Args:
        dataset: Config of the dataset, or the dataset; of any toolbox.
        num: Number of samples.
        seed: Seed of the choice.
        lazy_init: Leave loading to :meth:`full_init`.

    Raises:
        ConfigError: The dataset has fewer samples.

    Example:
        >>> dict(type='dynnet.Subset', num=10000,
        ...      dataset=dict(type='FashionMNIST', data_root='data/fashion_mnist'))
    """

    def __init__(
        self,
        dataset: dict | BaseDataset,
        num: int,
        seed: int = 0,
        lazy_init: bool = False,
    ) -> None:
        self.num, self.seed = num, seed
        super().__init__(dataset, lazy_init)

    def choose(self, length: int) -> np.ndarray:
        """Choose the samples, in the order of the dataset.

        Args:
            length: Number of samples of the wrapped dataset.

        Returns:
            (num,) int64 indices into it.
        """
        self._check_size('num', self.num, length)
        order = np.random.default_rng(self.seed).permutation(length)
        return np.sort(order[: self.num])
