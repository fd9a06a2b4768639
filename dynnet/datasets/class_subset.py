"""Some classes of a dataset: base and novel ones, one half and the other."""

import os.path as osp
import re
from collections.abc import Sequence

import numpy as np
from mmengine.dataset import BaseDataset
from mmengine.fileio import list_from_file

from dynnet.registry import DATASETS
from dynnet.utils.errors import ConfigError, DataError

from .subset import IndexedDataset


@DATASETS.register_module()
class ClassSubset(IndexedDataset):
    """The samples of some classes, labelled anew from 0 in the order given.

    Args:
        dataset: Config of a classification dataset, or the dataset.
        classes: Indices or names of the classes, or the path of a class-list file: one
            name on each line, blank lines and what follows a ``#`` aside. A name may
            carry the number that some datasets put in front (``001.Albatross``).
        lazy_init: Leave loading to :meth:`full_init`.

    Raises:
        DataError: The file is missing or empty; a class is not one of the dataset's,
            comes twice or has no sample. The message names file, line and class.
        ConfigError: The dataset does not know its classes' names.

    Example:
        >>> dict(type='dynnet.ClassSubset', classes=[0, 1, 2, 3, 4, 5],
        ...      dataset=dict(type='CIFAR10', data_root='data/cifar10'))
    """

    def __init__(
        self,
        dataset: dict | BaseDataset,
        classes: str | Sequence[int | str],
        lazy_init: bool = False,
    ) -> None:
        self.chosen = classes
        super().__init__(dataset, lazy_init)

    def choose(self, length: int) -> np.ndarray:
        """Choose the samples of the classes, in the order of the dataset.

        Args:
            length: Number of samples of the wrapped dataset.

        Returns:
            (M,) int64 indices into it.
        """
        self.old_labels = self._find_classes()
        self._new_label = {old: new for new, old in enumerate(self.old_labels)}
        labels = np.asarray(self.dataset.get_gt_labels())
        for label in self.old_labels:
            if not (labels == label).any():
                raise DataError(
                    f'dynnet.ClassSubset: class {self._name(label)} has no sample in '
                    f'{type(self.dataset).__name__}'
                )
        return np.flatnonzero(np.isin(labels, self.old_labels))

    @property
    def metainfo(self) -> dict:
        """Meta information of the wrapped dataset; ``classes`` are the chosen ones."""
        info = super().metainfo
        if info.get('classes') is not None:
            self.full_init()
            info['classes'] = tuple(info['classes'][i] for i in self.old_labels)
        return info

    def get_data_info(self, idx: int) -> dict:
        """Annotation of one sample, with its new label.

        Args:
            idx: Index into this part.
        """
        info = super().get_data_info(idx)
        return dict(info, gt_label=self._new_label[int(info['gt_label'])])

    def get_cat_ids(self, idx: int) -> list[int]:
        """The new label of one sample, in a list.

        Args:
            idx: Index into this part.
        """
        return [self.get_data_info(idx)['gt_label']]

    def get_gt_labels(self) -> np.ndarray:
        """New labels of all samples (M,)."""
        old = super().get_gt_labels()
        return np.array([self._new_label[int(label)] for label in old])

    def __getitem__(self, idx: int) -> dict:
        sample = super().__getitem__(idx)
        if 'data_samples' in sample:
            packed = sample['data_samples']
            packed.set_gt_label(self._new_label[int(packed.gt_label)])
        else:
            sample['gt_label'] = self._new_label[int(sample['gt_label'])]
        return sample

    def _find_classes(self) -> list[int]:
        names = self.dataset.metainfo.get('classes')
        if isinstance(self.chosen, str):
            entries = _read_class_list(self.chosen)
        else:
            entries = [('dynnet.ClassSubset', entry) for entry in self.chosen]
        if not entries:
            raise DataError('dynnet.ClassSubset: no class is chosen')
        found = []
        for where, entry in entries:
            label = _find_class(entry, names, where)
            if label in found:
                raise DataError(f'{where}: class {entry!r} comes twice')
            found.append(label)
        return found

    def _name(self, label: int) -> str:
        names = self.dataset.metainfo.get('classes')
        return str(label) if names is None else f'{names[label]!r}'


def _read_class_list(path: str) -> list[tuple[str, str]]:
    """Names of a class-list file, each with the place that it stands at."""
    if '://' not in path and not osp.isfile(path):
        raise DataError(f'class list {path} does not exist')
    lines = enumerate(list_from_file(path), start=1)
    named = [(f'{path}, line {i}', line.partition('#')[0].strip()) for i, line in lines]
    entries = [(where, name) for where, name in named if name]
    if not entries:
        raise DataError(f'class list {path} is empty')
    return entries


def _find_class(entry: int | str, names: Sequence[str] | None, where: str) -> int:
    if not isinstance(entry, str):
        if entry < 0 or (names is not None and entry >= len(names)):
            raise DataError(f'{where}: there is no class {entry}')
        return int(entry)
    if names is None:
        raise ConfigError(
            f"{where}: the dataset does not know its classes' names: choose indices"
        )
    for name in (entry, re.sub(r'^\d+\.', '', entry)):
        if name in names:
            return list(names).index(name)
    some = ', '.join(map(str, names[:3]))
    raise DataError(f'{where}: there is no class {entry!r} (there are {some}, ...)')
