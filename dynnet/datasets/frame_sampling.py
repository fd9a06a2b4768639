"""Which frames of a video are looked at: the sampling rules of AdaFocus.

Both of its families cut a video into equal segments and take a frame of each: a random
one in training, the middle one in testing. They differ in what happens to videos that
have too few frames, and the Something-Something family samples two groups, for the
glance and for the focus, independently of each other.

All indices count from 0.
"""

import numpy as np
from numpy.random import RandomState

from dynnet.utils.errors import ConfigError, DataError

# What a video with fewer frames than segments gives.
SHORT = ('repeat_last', 'first', 'error')


def sample_train(
    num_frames: int,
    num_segments: int,
    short: str = 'repeat_last',
    rng: RandomState | None = None,
) -> np.ndarray:
    """Take a random frame of each segment.

    With N frames, T segments and d = N // T, segment t is ``[t * d, (t + 1) * d)``: up
    to T - 1 frames at the end are never taken.

    Args:
        num_frames: N, frames of the video.
        num_segments: T, frames to take.
        short: What a video of N < T frames gives: ``'repeat_last'`` all its frames,
            then the last one again and again (ActivityNet, FCVID, Mini-Kinetics);
            ``'first'`` T times the first frame (Something-Something); ``'error'`` an
            error.
        rng: Source of randomness; None for NumPy's global one, which the loader's
            workers seed.

    Returns:
        Shape (T,), int64, rising.

    Raises:
        DataError: N < 1, or N < T and ``short='error'``.
    """
    _check(num_frames, num_segments, short)
    size = num_frames // num_segments
    if size == 0:
        return _fill(num_frames, num_segments, short)
    offsets = (np.random if rng is None else rng).randint(size, size=num_segments)
    return (np.arange(num_segments) * size + offsets).astype(np.int64)


def sample_test(
    num_frames: int, num_segments: int, short: str = 'repeat_last'
) -> np.ndarray:
    """Take the middle frame of each segment.

    With tau = N / T, segment t gives frame ``floor(tau / 2 + tau * t)``.

    Args:
        num_frames: N, frames of the video.
        num_segments: T, frames to take.
        short: As in :func:`sample_train`, for N <= T.

    Returns:
        Shape (T,), int64, rising.

    Raises:
        DataError: N < 1, or N < T and ``short='error'``.
    """
    _check(num_frames, num_segments, short)
    if num_frames <= num_segments:
        return _fill(num_frames, num_segments, short)
    tick = num_frames / num_segments
    return np.floor(tick / 2 + tick * np.arange(num_segments)).astype(np.int64)


def sample_glance_focus(
    num_frames: int,
    num_glance: int = 8,
    num_focus: int = 12,
    test: bool = False,
    short: str = 'first',
    rng: RandomState | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Sample the two groups of the Something-Something family.

    Args:
        num_frames: Frames of the video.
        num_glance: Frames for the global encoder.
        num_focus: Frames for the local encoder.
        test: Middle frames of the segments instead of random ones.
        short: As in :func:`sample_train`.
        rng: Source of randomness; the glance draws from it first, then the focus.

    Returns:
        Indices (num_glance,) and (num_focus,), int64.

    Raises:
        DataError: See :func:`sample_train`.
    """
    if test:
        return tuple(sample_test(num_frames, n, short) for n in (num_glance, num_focus))
    return tuple(
        sample_train(num_frames, n, short, rng) for n in (num_glance, num_focus)
    )


def _fill(num_frames: int, num_segments: int, short: str) -> np.ndarray:
    if short == 'error' and num_frames < num_segments:
        raise DataError(f'it has {num_frames} frames, {num_segments} are asked for')
    if short == 'first':
        return np.zeros(num_segments, np.int64)
    return np.minimum(np.arange(num_segments), num_frames - 1)


def _check(num_frames: int, num_segments: int, short: str) -> None:
    if num_segments < 1:
        raise ConfigError(f'{num_segments} frames are asked for: at least 1')
    if short not in SHORT:
        raise ConfigError(f'short={short!r} must be one of {", ".join(SHORT)}')
    if num_frames < 1:
        raise DataError('it has no frames')
