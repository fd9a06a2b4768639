"""Where a video network looked: its patches drawn on the frames."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from dynnet.utils.atomic import write_atomic
from dynnet.utils.errors import ConfigError

# RGB: the patch, a frame that was glanced at only, the way of the patches' middles.
PATCH, GLANCE, WAY = (0, 230, 118), (150, 150, 150), (255, 213, 79)
FORMATS = ('mp4', 'png')


@dataclass
class WatchedClip:
    """A clip with what a network did on it.

    Attributes:
        frames: As the network saw them (T, H, W, 3) uint8 RGB.
        corners: Upper left pixels (y, x) of the patches (t, 2), t <= T: frames after
            the exit have none.
        patch_size: Side of the patches.
        focused: Whether a frame was looked at closely (t,), bool.
        scores: Score of the predicted class after each frame (t,), or None.
        numbers: Index of each frame in the video (T,).
        title: Name of the predicted class.
    """

    frames: np.ndarray
    corners: np.ndarray
    patch_size: int
    focused: np.ndarray
    scores: np.ndarray | None
    numbers: np.ndarray
    title: str


def draw_frames(clip: WatchedClip) -> list[np.ndarray]:
    """Draw the patch, the way that it took so far and the score on every frame.

    Frames after the exit, which were not computed, are darkened.

    Args:
        clip: The clip.

    Returns:
        T pictures (H + S, W, 3) uint8 RGB, S the height of the line of text.
    """
    middles = np.round(clip.corners + clip.patch_size / 2).astype(int)
    return [_draw_frame(clip, middles, index) for index in range(len(clip.frames))]


def _draw_frame(clip: WatchedClip, middles: np.ndarray, index: int) -> np.ndarray:
    image = np.ascontiguousarray(clip.frames[index])
    text = f'#{clip.numbers[index]}'
    if index < len(clip.corners):
        seen = [middles[i][::-1] for i in range(index + 1) if clip.focused[i]]
        if len(seen) > 1:
            cv2.polylines(image, [np.array(seen)], False, WAY, 1, cv2.LINE_AA)
        y, x = (int(value) for value in clip.corners[index])
        far = x + clip.patch_size - 1, y + clip.patch_size - 1
        if clip.focused[index]:
            cv2.rectangle(image, (x, y), far, PATCH, 2)
        else:
            text += ' glance'
        if clip.scores is not None:
            text += f' {clip.title} {clip.scores[index]:.2f}'
    else:
        image //= 4
        text += ' not computed'
    return np.concatenate([image, _text_line(text, clip, index)])


def _text_line(text: str, clip: WatchedClip, index: int) -> np.ndarray:
    """A line of text over a bar as long as the score."""
    width = clip.frames.shape[2]
    size = max(0.3, width / 500)
    (_, height), below = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, size, 1)
    line = np.full((height + below + 8, width, 3), 24, np.uint8)
    if clip.scores is not None and index < len(clip.scores):
        line[-3:, : round(width * float(clip.scores[index]))] = PATCH
    place = (3, height + 3)
    cv2.putText(
        line, text, place, cv2.FONT_HERSHEY_SIMPLEX, size, (255,) * 3, 1, cv2.LINE_AA
    )
    return line


def tile(images: Sequence[np.ndarray], columns: int = 4) -> np.ndarray:
    """Lay pictures of one size out in rows.

    Args:
        images: (H, W, 3) uint8.
        columns: Pictures per row.

    Returns:
        One picture; missing ones at the end are dark.
    """
    columns = min(columns, len(images))
    rows = -(-len(images) // columns)
    height, width = images[0].shape[:2]
    sheet = np.full((rows * (height + 2), columns * (width + 2), 3), 24, np.uint8)
    for index, image in enumerate(images):
        y, x = divmod(index, columns)
        top, left = y * (height + 2), x * (width + 2)
        sheet[top : top + height, left : left + width] = image
    return sheet


def save_patch_path(
    clip: WatchedClip, path: str | os.PathLike, fps: float = 4.0
) -> None:
    """Write a clip with its patches.

    Args:
        clip: The clip.
        path: A ``.png`` gets all frames in one picture, an ``.mp4`` one after another.
        fps: Frames per second of the mp4.

    Raises:
        ConfigError: Another extension, or OpenCV cannot write it.
    """
    path = Path(path)
    kind = path.suffix.lstrip('.')
    if kind not in FORMATS:
        raise ConfigError(f'{path}: choose one of {", ".join(FORMATS)}')
    path.parent.mkdir(parents=True, exist_ok=True)
    images = draw_frames(clip)
    if kind == 'png':
        _, data = cv2.imencode('.png', tile(images)[..., ::-1])
        write_atomic(path, data.tobytes())
        return
    height, width = (side + side % 2 for side in images[0].shape[:2])  # h.264's wish
    codec = cv2.VideoWriter_fourcc(*'mp4v')
    writer = cv2.VideoWriter(str(path), codec, fps, (width, height))
    if not writer.isOpened():
        raise ConfigError(f'{path} cannot be written: OpenCV has no mp4v encoder here')
    for image in images:
        padded = np.zeros((height, width, 3), np.uint8)
        padded[: image.shape[0], : image.shape[1]] = image[..., ::-1]
        writer.write(padded)
    writer.release()
