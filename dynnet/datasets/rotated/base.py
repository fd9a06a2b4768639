"""What the strict datasets of rotated boxes share."""

import os.path as osp
from collections.abc import Iterable

from mmengine.dataset import BaseDataset
from mmengine.logging import print_log
from PIL import Image

from dynnet.utils.errors import ConfigError, DataError

from .boxes import MIN_AREA, RotatedBox, Skipped, is_outside, polygon_area


class StrictRotatedDataset(BaseDataset):
    """Rotated boxes whose files are checked when they are listed.

    A file that is not what it should be ends the run with one line that names it.
    Boxes from which nothing can be learned are left out, counted and logged: polygons
    without area, boxes outside the picture, and, with ``unknown_class='skip'``, classes
    that are not in ``metainfo``.

    Args:
        diff_thr: Boxes of a higher difficulty are ignored in training and testing.
        unknown_class: What a class that is not in ``metainfo`` does: ``'error'`` or
            ``'skip'``.
        check_images: Whether every picture must exist and its size be known at once.
            Without it, a missing picture ends the run when it is loaded, and boxes
            outside the picture are not found.
        backend_args: None, as mmrotate's configs hand it over: annotations are read
            from local files.
        **kwargs: Arguments of mmengine's ``BaseDataset``.

    Attributes:
        skipped (Skipped): What was left out.

    Raises:
        DataError: A file is missing or damaged, or a class unknown.
        ConfigError: A storage backend is asked for.
    """

    def __init__(
        self,
        diff_thr: int = 100,
        unknown_class: str = 'error',
        check_images: bool = True,
        backend_args: dict | None = None,
        **kwargs,
    ) -> None:
        if backend_args is not None:
            raise ConfigError(
                f'backend_args={backend_args}: {type(self).__name__} reads local files'
            )
        if unknown_class not in ('error', 'skip'):
            raise DataError(f"unknown_class={unknown_class!r}: choose 'error', 'skip'")
        self.diff_thr, self.unknown_class = diff_thr, unknown_class
        self.check_images = check_images
        self.skipped = Skipped()
        super().__init__(**kwargs)

    def _class_of(self, box: RotatedBox) -> str:
        return box.class_name

    def make_sample(self, img_path: str, boxes: Iterable[RotatedBox]) -> dict:
        """Make one entry of the data list.

        Args:
            img_path: The picture.
            boxes: Its boxes.

        Returns:
            ``img_path``, ``img_id``, ``file_name``, ``instances`` and, where the
            pictures are checked, ``width`` and ``height``.
        """
        name = osp.basename(img_path)
        sample = dict(img_path=img_path, img_id=osp.splitext(name)[0], file_name=name)
        if self.check_images:
            sample['width'], sample['height'] = picture_size(img_path)
        labels = {name: i for i, name in enumerate(self.metainfo['classes'])}
        sample['instances'] = []
        for box in boxes:
            label = labels.get(self._class_of(box))
            if label is None:
                if self.unknown_class == 'error':
                    raise DataError(
                        f'{box.where}: the class {self._class_of(box)!r} is not in '
                        f'metainfo ({", ".join(labels)})'
                    )
                self.skipped.add('boxes of an unknown class', box.where)
            elif polygon_area(box.corners) < MIN_AREA:
                self.skipped.add('boxes without area', box.where)
            elif self.check_images and is_outside(
                box.corners, sample['width'], sample['height']
            ):
                self.skipped.add('boxes outside the picture', box.where)
            else:
                sample['instances'].append(
                    dict(
                        bbox=list(box.corners),
                        bbox_label=label,
                        ignore_flag=int(box.difficulty > self.diff_thr),
                    )
                )
        return sample

    def report(self, source: str) -> None:
        """Log what was left out, if anything was."""
        if self.skipped.counts:
            print_log(f'{source}: left out {self.skipped.summary()}', 'current', 30)

    def filter_data(self) -> list[dict]:
        """Drop pictures without boxes in training, if ``filter_cfg`` says so."""
        if self.test_mode or not (self.filter_cfg or {}).get('filter_empty_gt'):
            return self.data_list
        kept = [sample for sample in self.data_list if sample['instances']]
        if not kept:
            raise DataError(f'{self.ann_file}: no picture has a box to learn from')
        return kept

    def get_cat_ids(self, idx: int) -> list[int]:
        """Labels of a picture's boxes."""
        return [item['bbox_label'] for item in self.get_data_info(idx)['instances']]


def picture_size(path: str) -> tuple[int, int]:
    """Width and height of a picture, from its header.

    Raises:
        DataError: It is missing, empty or no picture.
    """
    try:
        with Image.open(path) as picture:
            return picture.size
    except FileNotFoundError:
        raise DataError(f'picture {path} does not exist') from None
    except Exception:  # decoders raise whatever they like
        raise DataError(f'picture {path} is damaged or no picture') from None
