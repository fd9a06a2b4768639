"""DOTA's layout: a folder of pictures and one of text files."""

import os.path as osp
from pathlib import Path

from dynnet.registry import DATASETS
from dynnet.utils.errors import DataError

from .base import StrictRotatedDataset
from .dota_format import parse_dota_file

_CLASSES = (
    'plane',
    'baseball-diamond',
    'bridge',
    'ground-track-field',
    'small-vehicle',
    'large-vehicle',
    'ship',
    'tennis-court',
    'basketball-court',
    'storage-tank',
    'soccer-ball-field',
    'roundabout',
    'harbor',
    'swimming-pool',
    'helicopter',
)


def _metainfo(classes: tuple[str, ...]) -> dict:
    # Colours that differ, for pictures.
    palette = [
        ((37 * i + 60) % 256, (91 * i + 130) % 256, (151 * i + 20) % 256)
        for i in range(len(classes))
    ]
    return dict(classes=classes, palette=palette)


@DATASETS.register_module()
class DOTADatasetStrict(StrictRotatedDataset):
    """DOTA-v1.0, or any set in its layout, with one clear line for every bad file.

    Takes the place of mmrotate's ``DOTADataset``; lines without a difficulty and DOTA's
    header lines are understood. For other classes set
    ``metainfo=dict(classes=('ship',))``.

    Args:
        img_suffix: Ending of the pictures' names, without a dot.
        **kwargs: Arguments of :class:`StrictRotatedDataset`. ``ann_file`` is the folder
            of the text files (empty: all pictures, without boxes, as for a test set),
            ``data_prefix['img_path']`` that of the pictures.

    Example:
        >>> dataset = dict(
        ...     type='dynnet.DOTADatasetStrict', data_root='data/split_ss_dota/',
        ...     ann_file='trainval/annfiles/',
        ...     data_prefix=dict(img_path='trainval/images/'))
    """

    METAINFO = _metainfo(_CLASSES)

    def __init__(self, img_suffix: str = 'png', **kwargs) -> None:
        self.img_suffix = img_suffix
        super().__init__(**kwargs)

    def load_data_list(self) -> list[dict]:
        """List the pictures with their boxes, in the order of their names."""
        folder = self.data_prefix['img_path']
        if not self.ann_file:
            pictures = sorted(Path(folder).glob(f'*.{self.img_suffix}'))
            if not pictures:
                raise DataError(f'no .{self.img_suffix} picture in {folder}')
            return [self.make_sample(str(path), []) for path in pictures]
        files = sorted(Path(self.ann_file).glob('*.txt'))
        if not files:
            raise DataError(f'no .txt file in {self.ann_file}')
        samples = []
        for path in files:
            picture = osp.join(folder, f'{path.stem}.{self.img_suffix}')
            samples.append(self.make_sample(picture, parse_dota_file(path)))
        self.report(self.ann_file)
        return samples


@DATASETS.register_module()
class DOTAv15DatasetStrict(DOTADatasetStrict):
    """DOTA-v1.5: one more class than :class:`DOTADatasetStrict`."""

    METAINFO = _metainfo((*_CLASSES, 'container-crane'))
