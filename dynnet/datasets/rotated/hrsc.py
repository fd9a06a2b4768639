"""HRSC2016's layout: lists of names, pictures, XML files."""

import os.path as osp
from pathlib import Path

from dynnet.registry import DATASETS
from dynnet.utils.errors import DataError

from .base import StrictRotatedDataset
from .boxes import RotatedBox
from .hrsc_format import parse_hrsc_file


@DATASETS.register_module()
class HRSCDatasetStrict(StrictRotatedDataset):
    """HRSC2016 with all ships as one class, and one clear line for every bad file.

    Takes the place of mmrotate's ``HRSCDataset``. An XML file without objects is a
    picture without ships; training drops it (``filter_cfg``) and says how many.

    Args:
        img_suffix: Ending of the pictures' names, without a dot.
        **kwargs: Arguments of :class:`StrictRotatedDataset`. ``ann_file`` is a list of
            names, such as ``ImageSets/trainval.txt``;
            ``data_prefix['sub_data_root']`` the folder with ``AllImages`` and
            ``Annotations``.
    """

    METAINFO = dict(classes=('ship',), palette=[(220, 20, 60)])

    def __init__(self, img_suffix: str = 'bmp', **kwargs) -> None:
        self.img_suffix = img_suffix
        super().__init__(**kwargs)

    def _class_of(self, box: RotatedBox) -> str:
        return 'ship'

    def load_data_list(self) -> list[dict]:
        """List the pictures with their boxes."""
        root = self.data_prefix.get('sub_data_root', '')
        try:
            names = Path(self.ann_file).read_text().split()
        except OSError as error:
            raise DataError(f'{self.ann_file} cannot be read ({error})') from None
        if not names:
            raise DataError(f'{self.ann_file} lists no picture')
        samples = []
        for name in names:
            picture = osp.join(root, 'AllImages', f'{name}.{self.img_suffix}')
            xml = osp.join(root, 'Annotations', f'{name}.xml')
            boxes = parse_hrsc_file(xml)
            if not boxes:
                self.skipped.add('files without objects', xml)
            samples.append(self.make_sample(picture, boxes))
        self.report(self.ann_file)
        return samples
