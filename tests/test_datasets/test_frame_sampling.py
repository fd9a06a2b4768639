"""The published rules, number by number, and their edges."""

import numpy as np
import pytest

from dynnet.datasets.frame_sampling import (
    sample_glance_focus,
    sample_test,
    sample_train,
)
from dynnet.utils.errors import ConfigError, DataError

# Frame counts of the published cases: below, at and above 8, 12 and 16 frames.
LENGTHS = (3, 5, 8, 12, 15, 16, 17, 31, 32, 100, 333)
# Indices from 0 of the published rules (tests/parity has the whole table).
TEST_16 = {
    3: [0, 1] + [2] * 14,
    16: list(range(16)),
    17: [0, 1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 12, 13, 14, 15, 16],
    32: list(range(1, 32, 2)),
    100: [3, 9, 15, 21, 28, 34, 40, 46, 53, 59, 65, 71, 78, 84, 90, 96],
}


@pytest.mark.parametrize('num_frames', TEST_16)
def test_middle_frames(num_frames):
    assert sample_test(num_frames, 16).tolist() == TEST_16[num_frames]


@pytest.mark.parametrize('num_segments', [1, 8, 16])
@pytest.mark.parametrize('num_frames', LENGTHS)
def test_random_frames_lie_in_their_segments(num_frames, num_segments):
    rng = np.random.RandomState(num_frames)
    draws = np.stack(
        [sample_train(num_frames, num_segments, rng=rng) for _ in range(400)]
    )
    size = num_frames // num_segments
    if size == 0:
        wanted = np.minimum(np.arange(num_segments), num_frames - 1)
        assert (draws == wanted).all()
        return
    low = np.arange(num_segments) * size
    assert (draws.min(0) == low).all() or size > 30
    assert (draws >= low).all() and (draws < low + size).all()
    if 1 < size <= 12:  # every frame of the segment gets its turn
        assert (draws.max(0) == low + size - 1).all()


def test_short_videos_by_family():
    for rule in (sample_train, sample_test):
        assert rule(3, 5).tolist() == [0, 1, 2, 2, 2]
        assert rule(3, 5, 'first').tolist() == [0] * 5
        with pytest.raises(DataError, match='3 frames, 5 are asked for'):
            rule(3, 5, 'error')
        assert rule(5, 5, 'error').tolist() == [0, 1, 2, 3, 4]
    # As many frames as segments: the published test rule of family B is still short.
    assert sample_test(5, 5, 'first').tolist() == [0] * 5
    assert sample_train(5, 5, 'first').tolist() == [0, 1, 2, 3, 4]


def test_two_groups_share_one_seed_and_glance_draws_first():
    glance, focus = sample_glance_focus(100, rng=np.random.RandomState(7))
    rng = np.random.RandomState(7)
    assert glance.tolist() == sample_train(100, 8, 'first', rng).tolist()
    assert focus.tolist() == sample_train(100, 12, 'first', rng).tolist()
    glance, focus = sample_glance_focus(100, test=True)
    assert glance.tolist() == sample_test(100, 8).tolist()
    assert focus.tolist() == sample_test(100, 12).tolist()
    assert glance.shape == (8,) and focus.shape == (12,)


def test_the_global_source_follows_its_seed():
    np.random.seed(3)
    first = sample_train(100, 16)
    np.random.seed(3)
    assert (sample_train(100, 16) == first).all()


def test_arguments_that_cannot_be():
    for rule in (sample_train, sample_test):
        with pytest.raises(DataError, match='no frames'):
            rule(0, 16)
        with pytest.raises(ConfigError, match='0 frames are asked for'):
            rule(10, 0)
        with pytest.raises(ConfigError, match="short='loop' must be one of"):
            rule(10, 4, 'loop')
