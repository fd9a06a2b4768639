import cv2
import numpy as np
import pytest

pytest.importorskip('decord')

from dynnet.datasets import DecodeVideo, OpenVideo, SampleSegments
from dynnet.datasets.video_reader import VideoFile, resize_short_edge
from dynnet.utils.errors import DataError


@pytest.fixture(scope='module')
def clip(write_clip, tmp_path_factory):
    return write_clip(tmp_path_factory.mktemp('clips') / 'grey.mp4')


@pytest.fixture(scope='module')
def frames(tmp_path_factory):
    folder = tmp_path_factory.mktemp('frames')
    for index in range(1, 21):
        image = np.full((32, 64, 3), (0, 0, 10 * index), np.uint8)  # red, in BGR
        cv2.imwrite(str(folder / f'image_{index:05d}.jpg'), image)
    return dict(
        frame_dir=str(folder),
        filename_tmpl='image_{:05d}.jpg',
        total_frames=20,
        start_index=1,
    )


def run(results, *steps):
    for step in steps:
        results = step(results)
    return results


def shades(results):
    return [round(float(img.mean())) for img in results['imgs']]


def test_the_chosen_frames_of_a_file(clip):
    results = run(dict(filename=str(clip)), OpenVideo())
    assert results['total_frames'] == 20
    results = run(results, SampleSegments(4, test_mode=True), DecodeVideo())
    assert results['img_shape'] == (32, 64)
    assert np.allclose(shades(results), 12 * np.array([2, 7, 12, 17]), atol=4)
    assert 'video_reader' not in results


def test_repeated_and_unordered_frames_are_given_as_asked(clip):
    results = run(dict(filename=str(clip)), OpenVideo())
    results['frame_inds'] = np.array([9, 2, 9, 0])
    results = DecodeVideo()(results)
    assert np.allclose(shades(results), 12 * np.array([9, 2, 9, 0]), atol=4)
    results['imgs'][0][:] = 0  # flips work in place: frames must not share memory
    assert results['imgs'][2].mean() > 50


def test_the_chosen_frames_of_a_folder(frames):
    results = run(
        dict(frames), OpenVideo(), SampleSegments(4, test_mode=True), DecodeVideo()
    )
    reds = [float(img[..., 0].mean()) for img in results['imgs']]
    assert np.allclose(reds, 10 * np.array([3, 8, 13, 18]), atol=3)
    assert all(img[..., 2].max() < 10 for img in results['imgs'])


def test_the_cache_gives_the_same_frames_and_notices_a_new_file(
    clip, write_clip, tmp_path
):
    steps = SampleSegments(4, test_mode=True), DecodeVideo()
    cached = OpenVideo(cache_dir=tmp_path / 'cache', short_edge=32)
    direct = run(dict(filename=str(clip)), OpenVideo(), *steps)
    for _ in range(2):
        results = run(dict(filename=str(clip)), cached, *steps)
        assert all(map(np.array_equal, results['imgs'], direct['imgs']))
    assert len(list((tmp_path / 'cache').iterdir())) == 1
    half = OpenVideo(cache_dir=tmp_path / 'cache', short_edge=16)
    assert run(dict(filename=str(clip)), half, *steps)['img_shape'] == (16, 32)
    own = write_clip(tmp_path / 'own.mp4', 20)
    assert run(dict(filename=str(own)), cached)['total_frames'] == 20
    write_clip(own, 6)
    assert run(dict(filename=str(own)), cached)['total_frames'] == 6


def test_a_cut_cache_file_is_named(clip, tmp_path):
    cached = OpenVideo(cache_dir=tmp_path, short_edge=32)
    run(dict(filename=str(clip)), cached)
    (file,) = tmp_path.iterdir()
    file.write_bytes(file.read_bytes()[:60])
    with pytest.raises(DataError, match=f'{file.name} is damaged: delete it'):
        run(dict(filename=str(clip)), cached)


def test_files_that_cannot_be_read_are_named(clip, write_clip, tmp_path):
    whole = clip.read_bytes()
    for name, content in {
        'empty.mp4': b'',
        'page.mp4': b'<html>not found</html>',
        'half.mp4': whole[: len(whole) // 2],
    }.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match=f'video .*{name} is damaged or no video'):
            OpenVideo()(dict(filename=str(tmp_path / name)))
    with pytest.raises(DataError, match='video .*gone.mp4 does not exist'):
        OpenVideo()(dict(filename=str(tmp_path / 'gone.mp4')))
    write_clip(tmp_path / 'none.mp4', 0)
    with pytest.raises(DataError, match='none.mp4 (has no frames|is damaged)'):
        VideoFile(tmp_path / 'none.mp4')


def test_frames_that_cannot_be_read_are_named(frames, tmp_path):
    for change, message in (
        (dict(frame_dir=str(tmp_path / 'gone')), 'frame folder .*gone does not exist'),
        (dict(total_frames=0), 'has no frames, says its list'),
    ):
        with pytest.raises(DataError, match=message):
            OpenVideo()(dict(frames, **change))
    results = OpenVideo()(dict(frames, total_frames=25))
    with pytest.raises(DataError, match='image_00023.jpg cannot be read'):
        DecodeVideo()(dict(results, frame_inds=np.array([3, 23])))
    (tmp_path / 'image_00001.jpg').write_bytes(b'')
    results = OpenVideo()(dict(frames, frame_dir=str(tmp_path)))
    with pytest.raises(DataError, match='image_00001.jpg is damaged or no picture'):
        DecodeVideo()(dict(results, frame_inds=np.array([1])))


def test_resizing_keeps_the_ratio():
    image = np.zeros((30, 40, 3), np.uint8)
    assert resize_short_edge(image, 15).shape == (15, 20, 3)
    assert resize_short_edge(image, 30) is image
