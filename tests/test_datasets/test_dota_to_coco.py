"""DOTA's annotation files as one COCO file of upright boxes."""

import importlib.util
import json
from pathlib import Path

import pytest
from PIL import Image

from dynnet.utils.errors import ConfigError, DataError

PATH = Path(__file__).parents[2] / 'tools/dataset_converters/dota_to_coco.py'
SHIP = '10 20 30 10 40 30 20 40 ship 1'


@pytest.fixture(scope='module')
def tool():
    spec = importlib.util.spec_from_file_location('dota_to_coco', PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def folders(tmp_path):
    annotations, images = tmp_path / 'train', tmp_path / 'images'
    annotations.mkdir(), images.mkdir()
    for name in ('a.png', 'b.jpg'):
        Image.new('L', (60, 50)).save(images / name)
    return annotations, images


def test_boxes_become_upright_and_are_cut(tool, folders, tmp_path, capsys):
    annotations, images = folders
    lines = ['imagesource:x', '', SHIP, '-10 -5 70 -5 70 8 -10 8 boat']
    lines += ['70 5 90 5 90 9 70 9 ship 0', '3 3 3 3 3 3 3 3 ship 0']
    (annotations / 'a.txt').write_text('\n'.join(lines))
    (annotations / 'b.txt').write_text('')
    out = tmp_path / 'deep/train.json'
    tool.main(
        [str(annotations), str(images), '--classes', 'ship', 'boat', '--out', str(out)]
    )
    coco = json.loads(out.read_text())
    assert coco['images'] == [
        dict(id=1, file_name='a.png', width=60, height=50),
        dict(id=2, file_name='b.jpg', width=60, height=50),
    ]
    found = [(o['image_id'], o['category_id'], o['bbox']) for o in coco['annotations']]
    assert found == [(1, 1, [10, 10, 30, 30]), (1, 2, [0, 0, 60, 8])]
    assert [o['area'] for o in coco['annotations']] == [900, 480]
    assert [o['difficulty'] for o in coco['annotations']] == [1, 0]
    assert coco['categories'] == [dict(id=1, name='ship'), dict(id=2, name='boat')]
    said = capsys.readouterr().out
    assert '2 pictures, 2 boxes' in said
    assert '2 boxes without area in the picture (first: ' in said and 'a.txt:5' in said


def test_coco_api_reads_it(tool, folders, tmp_path):
    pytest.importorskip('mmdet')
    from mmdet.datasets import CocoDataset

    annotations, images = folders
    (annotations / 'a.txt').write_text(SHIP)
    coco, skipped = tool.convert(annotations, images, ['ship'])
    assert not skipped.counts
    path = tmp_path / 'train.json'
    path.write_text(json.dumps(coco))
    dataset = CocoDataset(
        ann_file=str(path),
        data_prefix=dict(img=str(images)),
        metainfo=dict(classes=('ship',)),
        pipeline=[],
    )
    (box,) = dataset.get_data_info(0)['instances']
    assert box['bbox'] == [10, 10, 40, 40] and box['bbox_label'] == 0


@pytest.mark.parametrize(
    ('line', 'message'),
    [
        ('1 2 3 4 5 6 7 ship 0', 'a.txt:2: 9 fields|a.txt:2: .ship. is no number'),
        ('1 2 3 4 ship', 'a.txt:2: 5 fields'),
        ('1 2 3 4 5 6 7 x ship 0', "a.txt:2: 'x' is no number"),
        ('1 2 3 4 5 6 7 nan ship 0', 'a.txt:2: a coordinate is not finite'),
        ('1 2 3 4 5 6 7 8 ship hard', "a.txt:2: the difficulty 'hard'"),
        ('1 2 3 4 5 6 7 8 car 0', "a.txt:2: the class 'car' is not in --classes"),
    ],
)
def test_a_bad_line_is_named(tool, folders, line, message):
    annotations, images = folders
    (annotations / 'a.txt').write_text(f'{SHIP}\n{line}\n')
    with pytest.raises(DataError, match=message):
        tool.convert(annotations, images, ['ship'])


def test_folders_that_do_not_fit(tool, folders):
    annotations, images = folders
    with pytest.raises(DataError, match='no folder with annotation files'):
        tool.convert(annotations, images, ['ship'])
    (annotations / 'c.txt').write_text(SHIP)
    with pytest.raises(DataError, match='has no picture c{.png'):
        tool.convert(annotations, images, ['ship'])
    (images / 'c.png').write_bytes(b'no picture')
    with pytest.raises(DataError, match='c.png is damaged'):
        tool.convert(annotations, images, ['ship'])
    with pytest.raises(ConfigError, match='a name occurs twice'):
        tool.convert(annotations, images, ['ship', 'ship'])
