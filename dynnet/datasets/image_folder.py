"""A folder of class folders, checked."""

import os.path as osp

from mmengine.fileio import list_from_file
from mmpretrain.datasets import CustomDataset

from dynnet.registry import DATASETS
from dynnet.utils.errors import DataError

from .checks import label_problem


@DATASETS.register_module()
class ImageFolder(CustomDataset):
    """mmpretrain's :class:`CustomDataset` that refuses what cannot be right.

    CustomDataset only warns about a class folder without pictures and takes any label
    of an annotation file: the training then fails late, or silently learns nothing.
    Arguments are those of CustomDataset. Use ``dynnet.LoadImageStrict`` in the
    pipeline: it names damaged pictures.

    Raises:
        DataError: The folder is missing; a class folder has no picture; a line of the
            annotation file is not ``path label`` with a label in range.

    Example:
        >>> dict(type='dynnet.ImageFolder', data_root='data/pets/train')
    """

    def load_data_list(self) -> list[dict]:
        """Check the folder or the annotation file, then load.

        Returns:
            One ``dict(img_path=..., gt_label=...)`` for every picture.
        """
        if self.ann_file:
            self._check_ann_file()
        elif '://' not in self.img_prefix and not osp.isdir(self.img_prefix):
            raise DataError(f'picture folder {self.img_prefix} does not exist')
        return super().load_data_list()

    def _find_samples(self) -> list:
        try:
            samples = super()._find_samples()
        except (AssertionError, RuntimeError) as error:  # CustomDataset's own checks
            raise DataError(f'{self.img_prefix}: {error}') from error
        if self.with_label:
            found = {label for _, label in samples}
            empty = [
                osp.join(self.img_prefix, name)
                for name, label in self.folder_to_idx.items()
                if label not in found
            ]
            if empty:
                raise DataError(
                    f'class folder {", ".join(empty)} has no picture '
                    f'({", ".join(sorted(self.extensions))})'
                )
        return samples

    def _check_ann_file(self) -> None:
        try:
            lines = list_from_file(self.ann_file)
        except FileNotFoundError as error:
            raise DataError(
                f'annotation file {self.ann_file} does not exist'
            ) from error
        if not lines:
            raise DataError(f'annotation file {self.ann_file} is empty')
        if self.with_label:
            for number, line in enumerate(lines, start=1):
                self._check_line(line, number)

    def _check_line(self, line: str, number: int) -> None:
        where = f'{self.ann_file}, line {number}'
        path, _, label = line.strip().rpartition(' ')
        if not path or not label.lstrip('-').isdecimal():
            raise DataError(f'{where}: {line!r} is not "path label"')
        num_classes = None if self.CLASSES is None else len(self.CLASSES)
        problem = label_problem(int(label), num_classes)
        if problem:
            raise DataError(f'{where}: {problem}')
