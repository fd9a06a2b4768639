import io
import multiprocessing

import numpy as np
import pytest
from torch.utils.data import DataLoader

pytest.importorskip('mmpretrain')
Image = pytest.importorskip('PIL.Image')

from dynnet.datasets import ImageFolder  # noqa: E402
from dynnet.utils.errors import DataError  # noqa: E402

LOAD = [dict(type='dynnet.LoadImageStrict')]


def picture(kind='PNG'):
    pixels = np.random.default_rng(0).integers(0, 256, (24, 16, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


@pytest.fixture
def folder(tmp_path):
    """Two classes with two pictures each."""
    for name in ('cat/1.png', 'cat/2.jpg', 'dog/1.png', 'dog/2.png'):
        path = tmp_path / 'pets' / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture('JPEG' if name.endswith('jpg') else 'PNG'))
    return tmp_path / 'pets'


def test_classes_come_from_the_folders(folder):
    dataset = ImageFolder(data_root=str(folder), pipeline=LOAD)
    assert dataset.metainfo['classes'] == ('cat', 'dog')
    assert dataset.get_gt_labels().tolist() == [0, 0, 1, 1]
    assert dataset[1]['img'].shape == (24, 16, 3)


def test_an_empty_class_folder_is_named(folder):
    (folder / 'emu').mkdir()
    (folder / 'emu' / 'readme.txt').write_text('no picture')
    with pytest.raises(DataError, match=r'class folder .*pets/emu has no picture'):
        ImageFolder(data_root=str(folder))


def test_folders_that_cannot_be_right(folder, tmp_path):
    with pytest.raises(DataError, match='picture folder .*/nowhere/? does not exist'):
        ImageFolder(data_root=str(tmp_path / 'nowhere'))
    with pytest.raises(DataError, match='Found 0 files'):
        (tmp_path / 'bare' / 'cat').mkdir(parents=True)
        ImageFolder(data_root=str(tmp_path / 'bare'))
    with pytest.raises(DataError, match=r"subfolders \(2\) doesn't match .*\(3\)"):
        ImageFolder(data_root=str(folder), classes=['a', 'b', 'c'])


@pytest.mark.parametrize(
    ('line', 'message'),
    [
        ('cat/2.jpg 2', r'line 2: label 2 is not between 0 and 1'),
        ('cat/2.jpg -1', r'line 2: label -1 is not between'),
        ('cat/2.jpg cat', r"line 2: 'cat/2.jpg cat' is not \"path label\""),
        ('cat/2.jpg', r'line 2: .* is not "path label"'),
        ('', r'line 2: .* is not "path label"'),
    ],
)
def test_a_bad_line_of_the_annotation_file_is_named(folder, line, message):
    (folder / 'train.txt').write_text(f'cat/1.png 0\n{line}\ndog/1.png 1\n')
    with pytest.raises(DataError, match=f'train.txt, {message}'):
        ImageFolder(data_root=str(folder), ann_file='train.txt', classes=['cat', 'dog'])


def test_annotation_files(folder):
    (folder / 'train.txt').write_text('dog/1.png 1\ncat/1.png 0\n')
    dataset = ImageFolder(
        data_root=str(folder), ann_file='train.txt', classes=['cat', 'dog']
    )
    assert dataset.get_gt_labels().tolist() == [1, 0]
    (folder / 'negative.txt').write_text('dog/1.png -3\n')
    with pytest.raises(DataError, match='label -3 is negative'):
        ImageFolder(data_root=str(folder), ann_file='negative.txt')
    (folder / 'empty.txt').write_text('')
    with pytest.raises(DataError, match='empty.txt is empty'):
        ImageFolder(data_root=str(folder), ann_file='empty.txt')
    with pytest.raises(DataError, match='missing.txt does not exist'):
        ImageFolder(data_root=str(folder), ann_file='missing.txt')


@pytest.mark.parametrize('workers', [0, 2])
@pytest.mark.parametrize(
    'content',
    [
        picture('JPEG')[:-40],
        picture('PNG')[:300],
        b'<html>not found</html>',
        b'',
    ],
    ids=['cut jpeg', 'cut png', 'no picture', 'empty'],
)
def test_a_damaged_picture_is_named_and_not_replaced(folder, content, workers):
    (folder / 'dog' / '2.png').write_bytes(content)
    dataset = ImageFolder(data_root=str(folder), pipeline=LOAD)
    loader = DataLoader(dataset, num_workers=workers, collate_fn=list)
    with pytest.raises(DataError, match=r'dog/2.png is damaged or no picture'):
        list(loader)
    for worker in multiprocessing.active_children():
        worker.terminate()  # else the loader waits 5 s for each when it is collected


def test_a_picture_that_vanished_is_named(folder):
    dataset = ImageFolder(data_root=str(folder), pipeline=LOAD)
    (folder / 'cat' / '1.png').unlink()
    with pytest.raises(DataError, match='cat/1.png does not exist'):
        dataset[0]
