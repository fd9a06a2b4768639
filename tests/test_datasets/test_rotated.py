"""Rotated boxes from files: right ones are read, wrong ones are named."""

import importlib.util
import math
import sys
from pathlib import Path

import numpy as np
import pytest

import dynnet  # noqa: F401
from dynnet.datasets.rotated import DOTADatasetStrict, HRSCDatasetStrict
from dynnet.datasets.rotated.boxes import polygon_area
from dynnet.utils.errors import DataError

ROOT = Path(__file__).parents[2]


def load_tool(name: str):
    path = ROOT / 'tools/dataset_converters' / f'{name}.py'
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


maker = load_tool('make_rotated_scenes')


@pytest.fixture
def dota(tmp_path):
    maker.make_set(tmp_path, 'dota', dict(train=3), 160, objects=6)
    return tmp_path / 'train'


def read_dota(folder, **kwargs):
    return DOTADatasetStrict(
        data_root=str(folder),
        ann_file='labelTxt/',
        data_prefix=dict(img_path='images/'),
        **kwargs,
    )


def test_dota_boxes_are_the_made_ones(dota):
    rng = np.random.default_rng(0)
    dataset = read_dota(dota)
    assert len(dataset) == 3
    for sample in dataset:
        _, items = maker.make_scene(rng, 160, 6, list(maker.SHAPES))
        assert len(sample['instances']) == len(items) > 0
        assert (sample['width'], sample['height']) == (160, 160)
        for instance, (cx, cy, w, h, _, name) in zip(sample['instances'], items):
            corners = np.array(instance['bbox']).reshape(4, 2)
            assert np.allclose(corners.mean(0), (cx, cy), atol=0.06)
            assert math.isclose(polygon_area(instance['bbox']), w * h, rel_tol=0.05)
            assert dataset.metainfo['classes'][instance['bbox_label']] == name
    assert dataset.skipped.counts == {}


def test_hrsc_boxes_are_the_made_ones(tmp_path):
    maker.make_set(tmp_path, 'hrsc', dict(trainval=2, test=1), 160, objects=5)
    dataset = HRSCDatasetStrict(
        data_root=str(tmp_path),
        ann_file='ImageSets/trainval.txt',
        data_prefix=dict(sub_data_root='FullDataSet/'),
    )
    rng = np.random.default_rng(0)
    assert [sample['img_id'] for sample in dataset] == ['P0000', 'P0001']
    for sample in dataset:
        _, items = maker.make_scene(rng, 160, 5, ['ship'])
        for instance, item in zip(sample['instances'], items, strict=True):
            assert np.allclose(instance['bbox'], maker.corners_of(*item[:5]))
            assert instance['bbox_label'] == 0


def test_made_sets_are_the_same_twice(tmp_path):
    for name in 'ab':
        maker.make_set(tmp_path / name, 'dota', dict(val=1), 96)
    files = [sorted(p.read_bytes() for p in (tmp_path / n).rglob('*.*')) for n in 'ab']
    assert files[0] == files[1]


GOOD = '10 10 40 10 40 30 10 30 ship 0'


@pytest.mark.parametrize(
    ('line', 'message'),
    [
        ('10 10 40 10 40 30 10', '7 fields'),
        ('10 10 40 10 40 30 ten 30 ship 0', "'ten' is no number"),
        ('10 10 40 10 40 nan 10 30 ship 0', 'not finite'),
        ('10 10 40 10 40 inf 10 30 ship 0', 'not finite'),
        ('10 10 40 10 40 30 10 30 boat 0', "class 'boat' is not in metainfo"),
        ('10 10 40 10 40 30 10 30 ship hard', "difficulty 'hard'"),
    ],
)
def test_bad_lines_are_named(dota, line, message):
    path = dota / 'labelTxt' / 'P0001.txt'
    path.write_text(f'{GOOD}\n{line}\n')
    with pytest.raises(DataError, match=message) as caught:
        read_dota(dota)
    assert f'{path}:2' in str(caught.value)


def test_boxes_without_use_are_skipped_and_counted(dota, caplog):
    path = dota / 'labelTxt' / 'P0001.txt'
    lines = [
        'imagesource:GoogleEarth',
        'gsd:null',
        GOOD,
        '',
        '10 10 40 10 70 10 10 10 ship 0',
        '300 10 340 10 340 30 300 30 ship 0',
        '-5 -5 20 -5 20 20 -5 20 ship',  # partly inside: stays
        '10 10 40 10 40 30 10 30 boat 0',
    ]
    path.write_text('\n'.join(lines))
    dataset = read_dota(dota, unknown_class='skip', serialize_data=False)
    assert dataset.skipped.counts == {
        'boxes without area': 1,
        'boxes outside the picture': 1,
        'boxes of an unknown class': 1,
    }
    assert f'{path}:5' in dataset.skipped.summary()
    assert [len(s['instances']) for s in dataset.data_list][1] == 2


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda path: path.unlink(), 'does not exist'),
        (lambda path: path.write_bytes(b''), 'damaged or no picture'),
        (lambda path: path.write_text('text'), 'damaged or no picture'),
    ],
)
def test_bad_pictures_are_named(dota, change, message):
    change(dota / 'images' / 'P0002.png')
    with pytest.raises(DataError, match=f'P0002.png.*{message}'):
        read_dota(dota)
    read_dota(dota, check_images=False)


def test_truncated_picture_is_named_when_it_is_loaded(dota):
    pytest.importorskip('mmpretrain')
    from dynnet.datasets import LoadImageStrict

    path = dota / 'images' / 'P0000.png'
    path.write_bytes(path.read_bytes()[:2000])
    sample = dict(img_path=str(path))
    with pytest.raises(DataError, match='P0000.png is damaged'):
        LoadImageStrict(imdecode_backend='pillow')(sample)


def test_difficult_boxes_and_filtering(dota):
    path = dota / 'labelTxt' / 'P0001.txt'
    path.write_text('10 10 40 10 40 30 10 30 ship 2\n')
    (dota / 'labelTxt' / 'P0002.txt').write_text('')
    dataset = read_dota(dota, diff_thr=1, filter_cfg=dict(filter_empty_gt=True))
    assert len(dataset) == 2
    assert dataset[1]['instances'][0]['ignore_flag'] == 1
    for path in (dota / 'labelTxt').iterdir():
        path.write_text('')
    with pytest.raises(DataError, match='no picture has a box'):
        read_dota(dota, filter_cfg=dict(filter_empty_gt=True))


def test_missing_folders_are_named(dota):
    (dota / 'empty').mkdir()
    with pytest.raises(DataError, match='no .txt file in .*empty'):
        DOTADatasetStrict(
            data_root=str(dota),
            ann_file='empty/',
            data_prefix=dict(img_path='images/'),
        )
    test = DOTADatasetStrict(
        data_root=str(dota), data_prefix=dict(img_path='images/'), test_mode=True
    )
    assert len(test) == 3 and test[0]['instances'] == []


@pytest.mark.parametrize(
    ('old', 'new', 'message'),
    [
        ('<mbox_cx>', '<mbox_cxx>', 'no whole XML file'),
        ('mbox_w>', 'mbox_width>', 'mbox_w is None'),
        ('<mbox_ang>', '<mbox_ang>nan', 'mbox_ang'),
    ],
)
def test_bad_hrsc_files_are_named(tmp_path, old, new, message):
    maker.make_set(tmp_path, 'hrsc', dict(trainval=1), 160)
    path = tmp_path / 'FullDataSet/Annotations/P0000.xml'
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(DataError, match=message) as caught:
        read_hrsc(tmp_path)
    assert 'P0000.xml' in str(caught.value)


def read_hrsc(root, **kwargs):
    return HRSCDatasetStrict(
        data_root=str(root),
        ann_file='ImageSets/trainval.txt',
        data_prefix=dict(sub_data_root='FullDataSet/'),
        **kwargs,
    )


def test_hrsc_file_without_objects_is_counted(tmp_path):
    maker.make_set(tmp_path, 'hrsc', dict(trainval=2), 160)
    path = tmp_path / 'FullDataSet/Annotations/P0001.xml'
    path.write_text('<HRSC_Image><HRSC_Objects></HRSC_Objects></HRSC_Image>')
    dataset = read_hrsc(
        tmp_path, filter_cfg=dict(filter_empty_gt=True), serialize_data=False
    )
    assert dataset.skipped.counts == {'files without objects': 1}
    assert len(dataset) == 1
