"""Frames of a video file, of a folder of pictures or of a cache, by index."""

import hashlib
import io
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

from dynnet.utils.atomic import write_atomic
from dynnet.utils.errors import DataError


class FrameReader(Protocol):
    """Gives frames by index, from 0."""

    def __len__(self) -> int:
        """Number of frames."""

    def get_batch(self, indices: Sequence[int]) -> np.ndarray:
        """Read frames.

        Args:
            indices: M of them, rising, each once.

        Returns:
            (M, H, W, 3) uint8, RGB.
        """


class VideoFile:
    """A video file, decoded by decord.

    Args:
        path: The file.
        num_threads: Threads of the decoder.

    Raises:
        DataError: The file is missing, unreadable or has no frames; it is named.
        ImportError: decord is not installed.
    """

    def __init__(self, path: str | os.PathLike, num_threads: int = 1) -> None:
        self.path = os.fspath(path)
        if not os.path.isfile(self.path):
            raise DataError(f'video {self.path} does not exist')
        try:
            import decord
        except ImportError as error:
            raise ImportError(
                'reading videos needs decord, which is not installed: it comes with '
                'the extra dynnet[video]'
            ) from error
        try:
            self.reader = decord.VideoReader(self.path, num_threads=num_threads)
            frames = len(self.reader)
        except Exception as error:  # decord raises its own and RuntimeError
            raise DataError(f'video {self.path} is damaged or no video') from error
        if frames < 1:
            raise DataError(f'video {self.path} has no frames')

    def __len__(self) -> int:
        return len(self.reader)

    @property
    def fps(self) -> float:
        """Frames per second; 0 where the file does not say."""
        return float(self.reader.get_avg_fps())

    def get_batch(self, indices: Sequence[int]) -> np.ndarray:
        """See :class:`FrameReader`."""
        try:
            return self.reader.get_batch(list(map(int, indices))).asnumpy()
        except Exception as error:
            raise DataError(
                f'video {self.path} is damaged: of its {len(self)} frames one of '
                f'{indices[0]}..{indices[-1]} cannot be decoded'
            ) from error


class FrameFolder:
    """A video that was dumped as one picture per frame.

    Args:
        folder: Where the pictures are.
        template: Name of a picture, such as ``'image_{:05d}.jpg'``.
        num_frames: Number of frames, as a list promises.
        first: Number of the first picture.
    """

    def __init__(
        self, folder: str | os.PathLike, template: str, num_frames: int, first: int = 1
    ) -> None:
        self.folder, self.template = Path(folder), template
        self.num_frames, self.first = num_frames, first
        if not self.folder.is_dir():
            raise DataError(f'frame folder {folder} does not exist')
        if num_frames < 1:
            raise DataError(f'frame folder {folder} has no frames, says its list')

    def __len__(self) -> int:
        return self.num_frames

    def get_batch(self, indices: Sequence[int]) -> np.ndarray:
        """See :class:`FrameReader`."""
        return np.stack([self._read(int(index)) for index in indices])

    def _read(self, index: int) -> np.ndarray:
        path = self.folder / self.template.format(index + self.first)
        try:
            data = np.frombuffer(path.read_bytes(), np.uint8)
        except OSError as error:
            raise DataError(f'frame {path} cannot be read') from error
        image = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
        if image is None:
            raise DataError(f'frame {path} is damaged or no picture')
        return np.ascontiguousarray(image[..., ::-1])


class BlackFrame:
    """One black frame, in the place of a video that cannot be read."""

    def __len__(self) -> int:
        return 1

    def get_batch(self, indices: Sequence[int]) -> np.ndarray:
        """See :class:`FrameReader`."""
        return np.zeros((len(indices), 256, 320, 3), np.uint8)


class FrameCache:
    """All frames of a video, resized once and kept in a file beside.

    For sets that are small beside the disk and read many times: a random frame then
    costs a copy instead of the decoding of all frames before it.

    Args:
        source: Opens the video when the cache does not have it.
        key: What the frames depend on, such as path and modification time.
        folder: Where the cache lies.
        short_edge: Length of the shorter edge of the kept frames, in pixels.

    Raises:
        DataError: The video cannot be read.
    """

    def __init__(
        self,
        source: Callable[[], FrameReader],
        key: str,
        folder: str | os.PathLike,
        short_edge: int,
    ) -> None:
        name = hashlib.sha256(f'{key} {short_edge}'.encode()).hexdigest()[:32]
        self.path = Path(folder) / f'{name}.npy'
        if not self.path.is_file():
            self._fill(source(), short_edge)
        try:
            self.frames = np.load(self.path, mmap_mode='r', allow_pickle=False)
        except (OSError, ValueError) as error:
            raise DataError(
                f'{self.path} is damaged: delete it, it is made anew'
            ) from error

    def _fill(self, reader: FrameReader, short_edge: int) -> None:
        frames = [
            resize_short_edge(reader.get_batch([index])[0], short_edge)
            for index in range(len(reader))
        ]
        buffer = io.BytesIO()
        np.save(buffer, np.stack(frames))
        write_atomic(self.path, buffer.getvalue())

    def __len__(self) -> int:
        return len(self.frames)

    def get_batch(self, indices: Sequence[int]) -> np.ndarray:
        """See :class:`FrameReader`."""
        return np.stack([self.frames[int(index)] for index in indices])


def resize_short_edge(image: np.ndarray, length: int) -> np.ndarray:
    """Resize so that the shorter edge has a length, the ratio kept.

    Args:
        image: (H, W, 3) uint8.
        length: Pixels.

    Returns:
        The resized picture; averaged over areas where it shrinks.
    """
    height, width = image.shape[:2]
    scale = length / min(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    if size == (width, height):
        return image
    mode = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return cv2.resize(image, size, interpolation=mode)


def file_key(path: str | os.PathLike) -> str:
    """What changes when a file is replaced: its path, size and modification time.

    Args:
        path: The file or folder; it may be missing.
    """
    path = os.path.abspath(path)
    try:
        stat = os.stat(path)
    except OSError:
        return path
    return f'{path} {stat.st_size} {stat.st_mtime_ns}'
