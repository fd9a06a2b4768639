import numpy as np
import pytest

pytest.importorskip('mmpretrain')

from dynnet.datasets import NPZDataset  # noqa: E402
from dynnet.utils.errors import DataError  # noqa: E402

CLASSES = dict(classes=('a', 'b', 'c'))


def arrays(**changes):
    rng = np.random.default_rng(0)
    data = dict(
        x_train=rng.integers(0, 256, (6, 5, 4, 3), dtype=np.uint8),
        y_train=np.array([0, 1, 2, 0, 1, 2]),
        x_test=rng.integers(0, 256, (2, 5, 4), dtype=np.uint8),
        y_test=np.array([2, 0], dtype=np.uint8),
    )
    return {**data, **changes}


def build(folder, name='toy.npz', **kwargs):
    return NPZDataset(ann_file=name, data_root=str(folder), metainfo=CLASSES, **kwargs)


@pytest.mark.parametrize('split', ['train', 'test'])
def test_gives_what_the_file_holds(tmp_path, split):
    data = arrays()
    np.savez_compressed(tmp_path / 'toy.npz', **data)
    dataset = build(tmp_path, split=split)
    assert len(dataset) == len(data[f'x_{split}'])
    for i in range(len(dataset)):
        assert np.array_equal(dataset[i]['img'], data[f'x_{split}'][i])
        assert dataset[i]['gt_label'] == data[f'y_{split}'][i]
    assert dataset.get_gt_labels().tolist() == data[f'y_{split}'].tolist()
    assert dataset.metainfo['classes'] == CLASSES['classes']


def test_other_keys_and_a_part_of_the_file(tmp_path):
    data = arrays()
    np.savez(tmp_path / 'toy.npz', pictures=data['x_train'], labels=data['y_train'])
    dataset = build(tmp_path, image_key='pictures', label_key='labels', indices=[4, 1])
    assert dataset.get_gt_labels().tolist() == [1, 1]
    assert np.array_equal(dataset[0]['img'], data['x_train'][4])


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(y_train=np.array([0, 1, 2, 0, 1, 3])), r'y_train\[5\]: label 3 is not'),
        (dict(y_train=np.array([0, -1, 2, 0, 1, 2])), r'y_train\[1\]: label -1'),
        (
            dict(y_train=np.array([0, 1, 2])),
            r'y_train must be .* shape \(6,\)',
        ),
        (dict(y_train=np.zeros(6)), 'y_train .* is float64'),
        (dict(x_train=np.zeros((6, 5, 4, 3))), 'x_train must be uint8 .* is float64'),
        (dict(x_train=np.zeros((6, 3, 5, 4), np.uint8)), r'of shape \(6, 3, 5, 4\)'),
        (dict(x_train=np.array([None] * 6, object)), 'damaged or no npz file'),
    ],
)
def test_wrong_arrays_name_file_and_key(tmp_path, changes, message):
    np.savez(tmp_path / 'toy.npz', **arrays(**changes))
    with pytest.raises(DataError, match=f'toy.npz.*{message}'):
        build(tmp_path)


def test_a_missing_key_lists_those_that_are_there(tmp_path):
    np.savez(tmp_path / 'toy.npz', **arrays())
    with pytest.raises(DataError, match='toy.npz has no array x_val; it has x_train'):
        build(tmp_path, split='val')


def test_files_that_are_no_npz_file(tmp_path):
    with pytest.raises(DataError, match='toy.npz does not exist'):
        build(tmp_path)
    np.savez(tmp_path / 'whole.npz', **arrays())
    whole = (tmp_path / 'whole.npz').read_bytes()
    for name, content in [
        ('cut.npz', whole[: len(whole) // 2]),
        ('text.npz', b'hello'),
        ('empty.npz', b''),
    ]:
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match=f'{name} is damaged or no npz file'):
            build(tmp_path, name)
    np.save(tmp_path / 'single.npy', np.zeros(3))
    with pytest.raises(DataError, match='single.npy .*it holds a single array'):
        build(tmp_path, 'single.npy')


def test_a_damaged_array_inside_a_whole_archive(tmp_path):
    np.savez_compressed(tmp_path / 'toy.npz', **arrays())
    content = bytearray((tmp_path / 'toy.npz').read_bytes())
    start = content.index(b'x_train.npy') + 60
    content[start : start + 40] = b'\xff' * 40
    (tmp_path / 'toy.npz').write_bytes(content)
    with pytest.raises(DataError, match='toy.npz is damaged'):
        build(tmp_path)
