"""mmaction2's video datasets, checked; import them only where mmaction2 is."""

import os.path as osp
import warnings
from typing import Any

import numpy as np
import torch
from mmengine.fileio import list_from_file

from dynnet.registry import DATASETS
from dynnet.utils.errors import ConfigError, DataError
from dynnet.utils.optional import require

from .video_list import VideoRecord, load_video_list

require('mmaction', 'dynnet.datasets.video_datasets')
from mmaction.datasets import RawframeDataset, VideoDataset  # noqa: E402

ON_BROKEN = ('skip', 'stop')


class _CheckedVideos:
    """A list that is checked line by line, and clips that may turn out broken.

    Mixed into one of mmaction2's datasets.
    """

    prefix_key: str

    def _set_up(
        self,
        columns: str,
        delimiter: str,
        max_labels: int,
        min_frames: int,
        class_file: str,
        on_broken: str,
        max_broken: float,
    ) -> None:
        if on_broken not in ON_BROKEN:
            raise ConfigError(
                f"dynnet.{type(self).__name__}: on_broken={on_broken!r} must be 'skip' "
                "or 'stop'"
            )
        self.list_options = dict(
            columns=columns,
            delimiter=delimiter,
            max_labels=max_labels,
            min_frames=min_frames,
        )
        self.class_file = class_file
        self.on_broken, self.max_broken = on_broken, max_broken
        self.num_dropped = 0

    def full_init(self) -> None:
        """Load the list; shared memory will tell what the workers find broken."""
        if not self._fully_initialized:
            super().full_init()
            self._broken = torch.zeros(len(self), dtype=torch.bool).share_memory_()

    @property
    def num_broken(self) -> int:
        """Clips that could not be read so far, in any worker; each counts once."""
        return int(self._broken.sum()) if self._fully_initialized else 0

    def broken_clips(self) -> list[str]:
        """Paths of the clips that could not be read so far."""
        return [
            self._path(super(_CheckedVideos, self).get_data_info(int(index)))
            for index in torch.nonzero(self._broken).flatten()
        ]

    def load_data_list(self) -> list[dict]:
        """Read the list.

        Returns:
            One dict per video, with ``label`` (its first) and ``labels`` (all).

        Raises:
            DataError: See :func:`~dynnet.datasets.video_list.load_video_list`.
        """
        if self.class_file:
            self._metainfo['classes'] = self._read_classes()
        num_classes = self.num_classes or len(self.metainfo.get('classes', ())) or None
        records, self.num_dropped = load_video_list(
            self.ann_file, num_classes=num_classes, **self.list_options
        )
        prefix = self.data_prefix.get(self.prefix_key) or ''
        return [
            dict(
                self.describe(record, osp.join(prefix, record.path)),
                label=record.labels[0],
                labels=list(record.labels),
            )
            for record in records
        ]

    def _read_classes(self) -> tuple[str, ...]:
        path = osp.join(self.data_root, self.class_file)
        try:
            return tuple(name.strip() for name in list_from_file(path))
        except FileNotFoundError as error:
            raise DataError(f'class file {path} does not exist') from error

    def describe(self, record: VideoRecord, path: str) -> dict:
        """Turn a line into what the pipeline begins with.

        Args:
            record: The line.
            path: Its path, with the data's folder.

        Returns:
            Where the video is.
        """
        raise NotImplementedError

    def prepare_data(self, idx: int) -> Any:
        """Run the pipeline on a clip.

        Args:
            idx: Index of the clip.

        Returns:
            The packed clip. For one that cannot be read, with ``on_broken='skip'``:
            None in training, where the loader draws another one; in testing a black
            clip whose data sample has ``broken`` set in its meta information.

        Raises:
            DataError: The clip cannot be read and ``on_broken='stop'``, or more than
                the share ``max_broken`` of the clips cannot be read.
        """
        info = self.get_data_info(idx)
        if not self.test_mode and len(info['labels']) > 1:
            info['label'] = int(np.random.choice(info['labels']))
        try:
            return self.pipeline(info)
        except DataError as error:
            if self.on_broken == 'stop':
                raise
            self._note(idx, error)
        if not self.test_mode:
            return None
        packed = self.pipeline(dict(self.get_data_info(idx), broken=True))
        packed['data_samples'].set_metainfo(dict(broken=True))
        return packed

    def _note(self, idx: int, error: DataError) -> None:
        if not self._broken[idx]:
            self._broken[idx] = True
            warnings.warn(f'skipped: {error}', stacklevel=2)
        number = self.num_broken
        if number > max(1, self.max_broken * len(self)):
            raise DataError(
                f'{number} of the {len(self)} clips of {self.ann_file} cannot be read, '
                f'the last: {error}'
            ) from error

    @staticmethod
    def _path(info: dict) -> str:
        return info.get('frame_dir') or info['filename']


@DATASETS.register_module()
class VideoListDataset(_CheckedVideos, VideoDataset):
    """mmaction2's :class:`VideoDataset` with checked lists and broken clips counted.

    Reads video files. Use ``dynnet.OpenVideo`` and ``dynnet.DecodeVideo`` in the
    pipeline: they name what they cannot read.

    Args:
        ann_file: The list.
        pipeline: Transforms.
        columns: ``'path label'``, or ``'path frames label'`` for lists that were made
            for folders of frames; their frame counts are used for ``min_frames`` only.
        delimiter: ``' '`` or ``','``.
        max_labels: How many labels a video may have. In training, one of them is drawn
            each time the video is read; ``labels`` has them all.
        min_frames: Videos for which the list promises fewer frames are left out; their
            number is ``num_dropped``.
        suffix: Added to every path, such as ``'.mp4'``.
        class_file: File below ``data_root`` with a class name per line, for those who
            read the predictions; it goes into checkpoints.
        on_broken: What a clip that cannot be read does: ``'skip'`` (it is counted, see
            :class:`~dynnet.engine.hooks.BrokenClipsHook`) or ``'stop'``.
        max_broken: More than this share of broken clips stops even with ``'skip'``; a
            single one never does.
        **kwargs: Other arguments of :class:`mmaction.datasets.VideoDataset`.

    Raises:
        DataError: The list or the class file is missing, or the list is empty or has a
            line that is not as promised.

    Example:
        >>> dict(type='dynnet.VideoListDataset', ann_file='train.txt',
        ...      data_prefix=dict(video='data/clips'), pipeline=[])
    """

    prefix_key = 'video'

    def __init__(
        self,
        ann_file: str,
        pipeline: list,
        columns: str = 'path label',
        delimiter: str = ' ',
        max_labels: int = 1,
        min_frames: int = 0,
        suffix: str = '',
        class_file: str = '',
        on_broken: str = 'skip',
        max_broken: float = 0.1,
        **kwargs,
    ) -> None:
        self.suffix = suffix
        self._set_up(
            columns,
            delimiter,
            max_labels,
            min_frames,
            class_file,
            on_broken,
            max_broken,
        )
        super().__init__(ann_file, pipeline, **kwargs)

    def describe(self, record: VideoRecord, path: str) -> dict:
        """See the base class."""
        return dict(filename=path + self.suffix)


@DATASETS.register_module()
class FrameListDataset(_CheckedVideos, RawframeDataset):
    """mmaction2's :class:`RawframeDataset` with checked lists and broken clips counted.

    Reads folders of pictures, one per frame, counted from 1.

    Args:
        ann_file: The list, ``path frames label``.
        pipeline: Transforms.
        filename_tmpl: Name of a picture.
        delimiter: See :class:`VideoListDataset`.
        max_labels: See :class:`VideoListDataset`.
        min_frames: See :class:`VideoListDataset`.
        class_file: See :class:`VideoListDataset`.
        on_broken: See :class:`VideoListDataset`.
        max_broken: See :class:`VideoListDataset`.
        **kwargs: Other arguments of :class:`mmaction.datasets.RawframeDataset`.

    Raises:
        DataError: See :class:`VideoListDataset`.
    """

    prefix_key = 'img'

    def __init__(
        self,
        ann_file: str,
        pipeline: list,
        filename_tmpl: str = 'image_{:05d}.jpg',
        delimiter: str = ' ',
        max_labels: int = 1,
        min_frames: int = 0,
        class_file: str = '',
        on_broken: str = 'skip',
        max_broken: float = 0.1,
        **kwargs,
    ) -> None:
        columns = 'path frames label'
        self._set_up(
            columns,
            delimiter,
            max_labels,
            min_frames,
            class_file,
            on_broken,
            max_broken,
        )
        super().__init__(ann_file, pipeline, filename_tmpl=filename_tmpl, **kwargs)

    def describe(self, record: VideoRecord, path: str) -> dict:
        """See the base class."""
        return dict(frame_dir=path, total_frames=record.num_frames)
