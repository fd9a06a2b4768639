"""The made set: what it shows is where its truth says."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip('decord')

from dynnet.datasets import DecodeVideo, LoadCueTruth, OpenVideo, SampleSegments
from dynnet.datasets.moving_cue import MovingCue
from dynnet.utils.errors import ConfigError, DataError

TOOLS = Path(__file__).parents[2] / 'tools/dataset_converters'


def load_tool(name):
    spec = importlib.util.spec_from_file_location(name, TOOLS / f'{name}.py')
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    return tool


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp('cue')
    arguments = '--train 6 --val 2 --test 3 --frames 10 --out'
    load_tool('make_moving_cue').main([*arguments.split(), str(folder)])
    return folder


def redness(frame):
    red, green, blue = frame.astype(float).transpose(2, 0, 1)
    return red - np.maximum(green, blue)


def test_the_reddest_place_is_the_cue():
    cue = MovingCue()
    for label in range(4):
        frames, centres = cue.make_clip(label, np.random.default_rng(label))
        assert frames.shape == (24, 96, 96, 3) and frames.dtype == np.uint8
        assert centres.shape == (24, 2)
        assert (centres >= 10).all() and (centres <= 86).all()
        assert np.abs(np.diff(centres, axis=0)).max() <= cue.speed
        for frame, centre in zip(frames, centres):
            found = np.argwhere(redness(frame) > 60).mean(0)
            assert np.hypot(*(found - centre)) < 2.5


def test_the_stripes_say_the_class():
    """The spectrum of the cue's pixels peaks in the direction of the label."""
    cue = MovingCue(noise=0)
    for label in range(4):
        frames, centres = cue.make_clip(label, np.random.default_rng(label))
        y, x = np.round(centres[0]).astype(int)
        patch = frames[0, y - 7 : y + 8, x - 7 : x + 8, 0].astype(float)
        rows, columns = np.mgrid[-7:8, -7:8]
        power = []
        for other in range(4):
            angle = np.pi * other / 4
            along = rows * np.sin(angle) + columns * np.cos(angle)
            wave = np.exp(2j * np.pi * along / cue.period)
            power.append(abs(((patch - patch.mean()) * wave).sum()))
        assert int(np.argmax(power)) == label


def test_a_seed_makes_the_same_clip():
    cue = MovingCue(num_frames=3)
    first, second, other = (
        cue.make_clip(1, np.random.default_rng(seed))[0] for seed in (0, 0, 1)
    )
    assert (first == second).all() and (first != other).any()


def test_the_truth_of_the_chosen_frames(folder):
    assert (folder / 'train.txt').read_text().splitlines()[1] == 'train/00001.mp4 1'
    results = dict(filename=str(folder / 'test/00002.mp4'))
    for step in (
        OpenVideo(),
        SampleSegments(4, test_mode=True),
        DecodeVideo(),
        LoadCueTruth('test_truth.npz', str(folder)),
    ):
        results = step(results)
    assert results['cue_centres'].shape == (4, 2)
    for frame, centre in zip(results['imgs'], results['cue_centres']):
        found = np.argwhere(redness(frame) > 50).mean(0)
        assert np.hypot(*(found - centre)) < 3


def test_truth_that_is_not_there(folder, tmp_path):
    sample = dict(
        filename=str(folder / 'test/00009.mp4'),
        frame_inds=np.array([0]),
        img_shape=(96, 96),
        original_shape=(96, 96),
    )
    with pytest.raises(DataError, match='test_truth.npz does not know test/00009.mp4'):
        LoadCueTruth('test_truth.npz', str(folder))(sample)
    with pytest.raises(DataError, match='none.npz does not exist'):
        LoadCueTruth('none.npz', str(folder))(sample)
    (tmp_path / 'bad.npz').write_bytes(b'no zip')
    with pytest.raises(DataError, match='bad.npz is no file of truth'):
        LoadCueTruth('bad.npz', str(tmp_path))(sample)


def test_settings_that_cannot_be():
    with pytest.raises(ConfigError, match='cue_size=96 must be from 4'):
        MovingCue(cue_size=96)
    with pytest.raises(ConfigError, match='two classes'):
        MovingCue(num_classes=1)


def test_folds_of_a_folder(tmp_path):
    tool = load_tool('list_video_folder')
    for name in ('run/b.avi', 'run/a.mp4', 'sit/c.MP4', 'sit/notes.txt', 'sit/x/d.mp4'):
        path = tmp_path / 'clips' / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    tool.main([str(tmp_path / 'clips'), '--folds', '2', '--out', str(tmp_path)])
    assert (tmp_path / 'classes.txt').read_text() == 'run\nsit\n'
    assert (tmp_path / 'fold0_val.txt').read_text() == 'run/a.mp4 0\nsit/c.MP4 1\n'
    assert (tmp_path / 'fold0_train.txt').read_text() == 'run/b.avi 0\nsit/x/d.mp4 1\n'
    assert (tmp_path / 'fold1_val.txt').read_text() == 'run/b.avi 0\nsit/x/d.mp4 1\n'
    with pytest.raises(ConfigError, match='--folds 1'):
        tool.write_folds(tmp_path / 'clips', tmp_path, 1)
    (tmp_path / 'clips' / 'swim').mkdir()
    with pytest.raises(DataError, match='class folder .*swim has no video'):
        tool.find_videos(tmp_path / 'clips')
    with pytest.raises(DataError, match='nowhere does not exist'):
        tool.find_videos(tmp_path / 'nowhere')
