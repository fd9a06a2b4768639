"""Some classes of a dataset, labelled anew."""

import numpy as np
import pytest

pytest.importorskip('mmpretrain')

from mmengine.registry import DefaultScope

from dynnet.datasets import ClassSubset, HoldoutSubset, NPZDataset, Subset
from dynnet.utils.errors import ConfigError, DataError

NAMES = ['cat', 'dog', 'emu', 'fox']


@pytest.fixture(autouse=True)
def scope():
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        yield


@pytest.fixture
def dataset(tmp_path):
    labels = np.arange(24) % 4
    images = (
        np.zeros((24, 4, 4, 3), np.uint8)
        + np.arange(24).astype(np.uint8)[:, None, None, None]
    )
    np.savez(tmp_path / 'set.npz', x_train=images, y_train=labels)
    return NPZDataset(
        'set.npz',
        data_root=str(tmp_path),
        metainfo=dict(classes=NAMES),
        pipeline=[dict(type='PackInputs')],
    )


def check(part, old_labels):
    assert len(part) == 6 * len(old_labels)
    assert part.metainfo['classes'] == tuple(NAMES[i] for i in old_labels)
    for i in range(len(part)):
        sample = part[i]
        old = int(sample['inputs'][0, 0, 0]) % 4  # the picture says what it was
        new = old_labels.index(old)
        assert int(sample['data_samples'].gt_label) == new
        assert part.get_data_info(i)['gt_label'] == new
        assert part.get_cat_ids(i) == [new]
        assert part.get_gt_labels()[i] == new


def test_by_index_name_and_file(dataset, tmp_path):
    check(ClassSubset(dataset, [3, 0]), [3, 0])
    check(ClassSubset(dataset, ['dog', 'emu']), [1, 2])
    path = tmp_path / 'novel.txt'
    path.write_text('# novel classes\nfox\n\n002.dog  # numbered\n')
    check(ClassSubset(dataset, str(path)), [3, 1])


def test_wraps_and_is_wrapped(dataset):
    inner = Subset(ClassSubset(dataset, [2, 3]), num=7)
    assert set(inner.get_gt_labels()) <= {0, 1} and len(inner) == 7
    train = ClassSubset(HoldoutSubset(dataset, size=4, part='train'), [1, 0])
    assert set(train.get_gt_labels()) == {0, 1}
    assert int(train[0]['data_samples'].gt_label) == train.get_gt_labels()[0]


def test_without_a_pipeline(dataset):
    dataset.pipeline.transforms.clear()
    assert ClassSubset(dataset, [3])[0]['gt_label'] == 0


@pytest.mark.parametrize(
    ('classes', 'message'),
    [
        ([], 'no class is chosen'),
        ([4], 'there is no class 4'),
        ([0, 0], 'class 0 comes twice'),
        (['cow'], "no class 'cow' .*cat, dog, emu"),
        ('missing.txt', 'class list missing.txt does not exist'),
    ],
)
def test_bad_classes_are_named(classes, message, dataset):
    with pytest.raises(DataError, match=message):
        ClassSubset(dataset, classes)


def test_bad_line_is_named(dataset, tmp_path):
    path = tmp_path / 'list.txt'
    path.write_text('cat\n\ncow\n')
    with pytest.raises(DataError, match=r"list.txt, line 3: there is no class 'cow'"):
        ClassSubset(dataset, str(path))
    path.write_text('# nothing\n')
    with pytest.raises(DataError, match='list.txt is empty'):
        ClassSubset(dataset, str(path))


def test_class_without_pictures(dataset, tmp_path):
    dataset.data_list  # noqa: B018
    few = Subset(dataset, num=1)
    missing = [i for i in range(4) if i not in few.get_gt_labels()]
    with pytest.raises(DataError, match=f"'{NAMES[missing[0]]}' has no sample"):
        ClassSubset(few, missing[:1])


def test_names_need_names(dataset):
    dataset._metainfo['classes'] = None
    with pytest.raises(ConfigError, match='choose indices'):
        ClassSubset(dataset, ['cat'])
