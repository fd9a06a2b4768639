import numpy as np
import pytest

from dynnet.datasets import SampleGlanceFocus, SampleSegments
from dynnet.datasets.frame_sampling import sample_test
from dynnet.utils.errors import DataError


def test_segments_fill_in_what_the_decoders_need():
    results = SampleSegments(4, test_mode=True)(dict(total_frames=40, start_index=1))
    assert results['frame_inds'].tolist() == [6, 16, 26, 36]
    assert (results['num_clips'], results['clip_len']) == (4, 1)
    np.random.seed(0)
    drawn = SampleSegments(4)(dict(total_frames=40, start_index=0))['frame_inds']
    assert (drawn // 10 == np.arange(4)).all()


def test_the_glance_comes_before_the_focus():
    results = SampleGlanceFocus(test_mode=True)(dict(total_frames=60))
    assert results['num_clips'] == 20
    inds = results['frame_inds'].tolist()
    assert inds[:8] == sample_test(60, 8).tolist()
    assert inds[8:] == sample_test(60, 12).tolist()
    assert SampleGlanceFocus()(dict(total_frames=3))['frame_inds'].tolist() == [0] * 20


@pytest.mark.parametrize('key', ['filename', 'frame_dir'])
def test_a_video_with_too_few_frames_is_named(key):
    sample = SampleSegments(16, short='error')
    with pytest.raises(DataError, match='clips/a: it has 9 frames, 16 are asked for'):
        sample({'total_frames': 9, key: 'clips/a'})
    with pytest.raises(DataError, match='clips/a: it has no frames'):
        SampleGlanceFocus()({'total_frames': 0, key: 'clips/a'})


def test_same_frames_as_mmaction_for_long_videos():
    optional = pytest.importorskip('dynnet.utils.optional')
    if not optional.is_available('mmaction'):
        pytest.skip('mmaction is not installed')
    optional.require('mmaction')
    from mmaction.datasets.transforms import SampleFrames

    for total in (17, 100, 333):
        for test_mode in (False, True):
            theirs = SampleFrames(clip_len=1, num_clips=16, test_mode=test_mode)
            ours = SampleSegments(16, test_mode=test_mode)
            found = []
            for transform in (theirs, ours):
                np.random.seed(total)
                sample = transform(dict(total_frames=total, start_index=1))
                found.append(sample['frame_inds'].tolist())
            assert found[0] == found[1]
