"""Lists, broken clips and the way through a loader, with mmaction2's parts."""

import multiprocessing
import warnings

import numpy as np
import pytest
from torch.utils.data import DataLoader

pytest.importorskip('decord')

from mmengine.registry import DefaultScope

from dynnet.registry import DATASETS
from dynnet.utils.errors import ConfigError, DataError
from dynnet.utils.optional import is_available

if not is_available('mmaction'):
    pytest.skip('mmaction is not installed', allow_module_level=True)

PIPELINE = [
    dict(type='dynnet.OpenVideo'),
    dict(type='dynnet.SampleSegments', num_segments=4, test_mode=True),
    dict(type='dynnet.DecodeVideo'),
    dict(type='mmaction.Resize', scale=(-1, 32)),
    dict(type='mmaction.CenterCrop', crop_size=32),
    dict(type='mmaction.FormatShape', input_format='NCHW'),
    dict(type='mmaction.PackActionInputs', algorithm_keys=('labels',)),
]


@pytest.fixture(scope='module')
def folder(write_clip, tmp_path_factory):
    """Twelve clips of two classes, one of them cut in half."""
    folder = tmp_path_factory.mktemp('clips')
    for index in range(12):
        write_clip(folder / f'{index}.mp4')
    whole = (folder / '3.mp4').read_bytes()
    (folder / '3.mp4').write_bytes(whole[: len(whole) // 2])
    lines = [f'{index}.mp4 {index % 2}' for index in range(12)]
    (folder / 'list.txt').write_text('\n'.join(lines))
    return folder


def build(folder, kind='VideoListDataset', **options):
    options = (
        dict(
            type=f'dynnet.{kind}',
            ann_file=str(folder / 'list.txt'),
            data_prefix={'video' if kind.startswith('Video') else 'img': str(folder)},
            pipeline=PIPELINE,
        )
        | options
    )
    with DefaultScope.overwrite_default_scope('mmaction'):
        return DATASETS.build(options)


def test_what_a_clip_becomes(folder):
    packed = build(folder)[1]
    assert packed['inputs'].shape == (4, 3, 32, 32)
    assert packed['data_samples'].gt_label.tolist() == [1]
    means = packed['inputs'].float().mean((1, 2, 3)).numpy()
    assert np.allclose(means, 12 * np.array([2, 7, 12, 17]), atol=4)


@pytest.mark.parametrize('workers', [0, 2])
def test_a_broken_clip_is_replaced_in_training_and_counted_once(folder, workers):
    dataset = build(folder)
    loader = DataLoader(dataset, num_workers=workers, collate_fn=list, batch_size=4)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        for _ in range(2):
            clips = [clip for batch in loader for clip in batch]
            assert len(clips) == 12 and all(c is not None for c in clips)
    assert dataset.num_broken == 1
    assert dataset.broken_clips() == [str(folder / '3.mp4')]


def test_a_broken_clip_is_marked_in_testing(folder):
    dataset = build(folder, test_mode=True)
    with pytest.warns(UserWarning, match='skipped: video .*3.mp4 is damaged'):
        packed = dataset[3]
    assert packed['data_samples'].broken
    assert packed['data_samples'].gt_label.tolist() == [1]
    assert packed['inputs'].shape == (4, 3, 32, 32) and packed['inputs'].max() == 0
    assert 'broken' not in dataset[2]['data_samples']
    assert dataset.num_broken == 1


@pytest.mark.parametrize('workers', [0, 1])
def test_the_config_may_say_stop(folder, workers):
    dataset = build(folder, on_broken='stop')
    loader = DataLoader(dataset, num_workers=workers, collate_fn=list)
    with pytest.raises(DataError, match='3.mp4 is damaged or no video'):
        list(loader)
    for worker in multiprocessing.active_children():
        worker.terminate()
    with pytest.raises(ConfigError, match="on_broken='warn' must be 'skip' or 'stop'"):
        build(folder, on_broken='warn')


def test_a_whole_folder_of_broken_clips_stops(folder, tmp_path):
    (tmp_path / 'list.txt').write_text('a.mp4 0\nb.mp4 1\nc.mp4 0\n')
    dataset = build(tmp_path)
    with pytest.raises(DataError, match='2 of the 3 clips .* cannot be read, the last'):
        with pytest.warns(UserWarning):
            dataset[0]


def test_one_of_several_labels_is_drawn_in_training(folder, tmp_path):
    path = tmp_path / 'list.txt'
    path.write_text('0,20,4,2\n1,2,0\n')
    options = dict(
        ann_file=str(path),
        columns='path frames label',
        delimiter=',',
        max_labels=3,
        min_frames=3,
        suffix='.mp4',
        num_classes=5,
    )
    dataset = build(folder, **options)
    assert len(dataset) == 1 and dataset.num_dropped == 1
    drawn = {dataset[0]['data_samples'].gt_label.item() for _ in range(20)}
    assert drawn == {2, 4}
    dataset = build(folder, test_mode=True, **options)
    sample = dataset[0]['data_samples']
    assert sample.gt_label.tolist() == [2] and sample.labels == [2, 4]
    with pytest.raises(DataError, match='line 1: label 4 is not between 0 and 3'):
        build(folder, **dict(options, num_classes=4))


def test_folders_of_frames(tmp_path):
    cv2 = pytest.importorskip('cv2')
    for index in range(1, 21):
        (tmp_path / 'a').mkdir(exist_ok=True)
        image = np.full((32, 32, 3), 10 * index, np.uint8)
        cv2.imwrite(str(tmp_path / 'a' / f'{index:06d}.jpg'), image)
    (tmp_path / 'list.txt').write_text('a 20 1\n')
    packed = build(tmp_path, 'FrameListDataset', filename_tmpl='{:06d}.jpg')[0]
    means = packed['inputs'].float().mean((1, 2, 3)).numpy()
    assert np.allclose(means, 10 * np.array([3, 8, 13, 18]), atol=3)
    assert packed['data_samples'].gt_label.tolist() == [1]


def test_class_names_come_from_a_file(folder, tmp_path):
    (tmp_path / 'classes.txt').write_text('run\nsit\n')
    options = dict(data_root=str(tmp_path), class_file='classes.txt')
    dataset = build(folder, **options)
    assert dataset.metainfo['classes'] == ('run', 'sit')
    (tmp_path / 'classes.txt').write_text('run\n')
    with pytest.raises(DataError, match='line 2: label 1 is not between 0 and 0'):
        build(folder, **options)
    with pytest.raises(DataError, match='class file .*none.txt does not exist'):
        build(folder, **dict(options, class_file='none.txt'))
