"""Pipeline steps for videos; they need no toolbox and fit mmaction2's datasets."""

import numpy as np
from mmcv.transforms import BaseTransform

from dynnet.registry import TRANSFORMS
from dynnet.utils.errors import DataError

from .frame_sampling import sample_glance_focus, sample_test, sample_train
from .video_reader import (
    BlackFrame,
    FrameCache,
    FrameFolder,
    FrameReader,
    VideoFile,
    file_key,
)


@TRANSFORMS.register_module()
class OpenVideo(BaseTransform):
    """Open a video file, or a folder of frames, and count its frames.

    The same step serves mmaction2's ``VideoDataset`` (files) and ``RawframeDataset``
    (folders), and every file that cannot be read is named.

    Args:
        num_threads: Threads of the decoder.
        cache_dir: Folder where the decoded frames are kept between epochs and runs;
            None keeps nothing. For small sets: see :class:`FrameCache`.
        short_edge: Shorter edge of the kept frames, in pixels.
    """

    def __init__(
        self, num_threads: int = 1, cache_dir: str | None = None, short_edge: int = 256
    ) -> None:
        self.num_threads = num_threads
        self.cache_dir, self.short_edge = cache_dir, short_edge

    def transform(self, results: dict) -> dict:
        """Open the video of a sample.

        Args:
            results: With ``filename``, or ``frame_dir``, ``filename_tmpl`` and
                ``total_frames``. With a true ``broken``, a black frame takes the place
                of the video.

        Returns:
            The sample with ``video_reader`` and ``total_frames``.

        Raises:
            DataError: See :class:`VideoFile` and :class:`FrameFolder`.
        """
        if results.get('broken'):
            reader = BlackFrame()
        elif self.cache_dir is None:
            reader = self._open(results)
        else:
            path = results.get('frame_dir') or results['filename']
            key = f'{file_key(path)} {results.get("offset", 0)}'
            reader = FrameCache(
                lambda: self._open(results), key, self.cache_dir, self.short_edge
            )
        results.update(video_reader=reader, total_frames=len(reader))
        return results

    def _open(self, results: dict) -> FrameReader:
        if 'frame_dir' not in results:
            return VideoFile(results['filename'], self.num_threads)
        return FrameFolder(
            results['frame_dir'],
            results['filename_tmpl'],
            results['total_frames'],
            results.get('start_index', 1) + results.get('offset', 0),
        )


@TRANSFORMS.register_module()
class DecodeVideo(BaseTransform):
    """Read the chosen frames, each of them once."""

    def transform(self, results: dict) -> dict:
        """Read the frames of a sample.

        Args:
            results: With ``video_reader``, ``frame_inds`` and ``start_index``.

        Returns:
            The sample with ``imgs``, a list of (H, W, 3) uint8 RGB, and its shapes;
            the reader is closed.

        Raises:
            DataError: A frame is missing or damaged; the file is named.
        """
        wanted = np.ravel(results['frame_inds']) - results.get('start_index', 0)
        # Repeated and unordered frames would make the decoder run back again.
        distinct, positions = np.unique(wanted, return_inverse=True)
        frames = results.pop('video_reader').get_batch(distinct)
        imgs = [frames[position].copy() for position in np.ravel(positions)]
        shape = imgs[0].shape[:2]
        results.update(imgs=imgs, original_shape=shape, img_shape=shape)
        return results


class _SampleFrames(BaseTransform):
    """Write indices where mmaction2's decoders and FormatShape look for them."""

    def choose(self, num_frames: int) -> np.ndarray:
        """Choose frames.

        Args:
            num_frames: Frames of the video.

        Returns:
            (T,) indices from 0.
        """
        raise NotImplementedError

    def transform(self, results: dict) -> dict:
        """Choose the frames of a sample.

        Args:
            results: With ``total_frames`` and ``start_index``.

        Returns:
            The sample with ``frame_inds`` (T,), from ``start_index``, ``num_clips`` T,
            ``clip_len`` and ``frame_interval`` 1.

        Raises:
            DataError: The video has no frames, or too few; it is named.
        """
        try:
            chosen = self.choose(results['total_frames'])
        except DataError as error:
            name = results.get('filename') or results.get('frame_dir') or 'a video'
            raise DataError(f'{name}: {error}') from None
        results['frame_inds'] = chosen + results.get('start_index', 0)
        results.update(clip_len=1, frame_interval=1, num_clips=len(chosen))
        return results


@TRANSFORMS.register_module()
class SampleSegments(_SampleFrames):
    """One frame of each of T equal segments: a random one, or the middle one in test.

    Like mmaction2's ``SampleFrames(clip_len=1, num_clips=T)`` for videos of more than T
    frames; shorter ones follow the published rules of AdaFocus instead of being
    stretched.

    Args:
        num_segments: T.
        test_mode: Middle frames.
        short: What shorter videos give: ``'repeat_last'`` (ActivityNet, FCVID,
            Mini-Kinetics), ``'first'`` (Something-Something) or ``'error'``.

    Example:
        >>> dict(type='dynnet.SampleSegments', num_segments=16, test_mode=True)
    """

    def __init__(
        self, num_segments: int, test_mode: bool = False, short: str = 'repeat_last'
    ) -> None:
        self.num_segments, self.test_mode, self.short = num_segments, test_mode, short

    def choose(self, num_frames: int) -> np.ndarray:
        """See the base class."""
        rule = sample_test if self.test_mode else sample_train
        return rule(num_frames, self.num_segments, self.short)


@TRANSFORMS.register_module()
class SampleGlanceFocus(_SampleFrames):
    """The two frame groups of AdaFocus on Something-Something, one after the other.

    The clip has ``num_glance + num_focus`` frames, the glance first; the recognizer
    splits it.

    Note (differs): the published training crops the two groups independently, so that
    the patch that the policy chooses on the glance lies elsewhere on the focus. As one
    clip they share the crop.

    Args:
        num_glance: Frames for the global encoder.
        num_focus: Frames for the local encoder.
        test_mode: Middle frames of the segments.
        short: As in :class:`SampleSegments`.
    """

    def __init__(
        self,
        num_glance: int = 8,
        num_focus: int = 12,
        test_mode: bool = False,
        short: str = 'first',
    ) -> None:
        self.num_glance, self.num_focus = num_glance, num_focus
        self.test_mode, self.short = test_mode, short

    def choose(self, num_frames: int) -> np.ndarray:
        """See the base class."""
        groups = sample_glance_focus(
            num_frames, self.num_glance, self.num_focus, self.test_mode, self.short
        )
        return np.concatenate(groups)
