import pickle

import numpy as np
import pytest
from mmengine.dataset import BaseDataset
from mmengine.registry import DATASETS as ROOT_DATASETS
from torch.utils.data import DataLoader

import dynnet  # noqa: F401
from dynnet.datasets import HoldoutSubset, Subset
from dynnet.utils.errors import ConfigError

NUM = 50


@ROOT_DATASETS.register_module(force=True)
class CountingDataset(BaseDataset):
    """Sample i is i; not of any toolbox."""

    METAINFO = dict(classes=('even', 'odd'))

    def load_data_list(self):
        return [dict(number=i, gt_label=i % 2) for i in range(NUM)]

    def get_cat_ids(self, idx):
        return [self.get_data_info(idx)['gt_label']]


def numbers(dataset):
    return [dataset[i]['number'] for i in range(len(dataset))]


@pytest.mark.parametrize('lazy', [False, True])
def test_the_two_sides_are_disjoint_and_complete(lazy):
    sides = {
        part: HoldoutSubset(
            dict(type='CountingDataset', lazy_init=lazy), 20, part, lazy_init=lazy
        )
        for part in ('train', 'holdout')
    }
    train, holdout = numbers(sides['train']), numbers(sides['holdout'])
    assert len(holdout) == 20 and sorted(train + holdout) == list(range(NUM))
    assert holdout != list(range(20)), 'the split has to be drawn, not cut off'


def test_a_split_depends_on_its_seed_alone():
    build = lambda seed: numbers(  # noqa: E731
        HoldoutSubset(dict(type='CountingDataset'), 20, 'holdout', seed=seed)
    )
    first = build(0)
    np.random.seed(7)
    assert build(0) == first
    assert build(1) != first


def test_annotations_follow_the_choice():
    part = HoldoutSubset(dict(type='CountingDataset'), 20, 'holdout')
    for i, number in enumerate(numbers(part)):
        assert part.get_data_info(i)['number'] == number
        assert part.get_cat_ids(i) == [number % 2]
    assert part.metainfo == dict(classes=('even', 'odd'))


def test_subsets_nest_and_combine():
    cfg = dict(type='CountingDataset')
    small = Subset(cfg, num=10)
    large = Subset(cfg, num=30)
    assert set(numbers(small)) < set(numbers(large)) and len(large) == 30
    inner = dict(type='dynnet.Subset', num=30, dataset=cfg)
    train = HoldoutSubset(inner, 10, 'train')
    holdout = HoldoutSubset(inner, 10, 'holdout')
    assert sorted(numbers(train) + numbers(holdout)) == sorted(numbers(large))


def test_workers_see_the_same_samples():
    part = Subset(dict(type='CountingDataset'), num=10)
    assert numbers(pickle.loads(pickle.dumps(part))) == numbers(part)
    loader = DataLoader(part, batch_size=5, num_workers=2)
    seen = np.concatenate([batch['number'].numpy() for batch in loader])
    assert seen.tolist() == numbers(part)


@pytest.mark.parametrize(
    ('build', 'message'),
    [
        (lambda c: HoldoutSubset(c, NUM, 'train'), 'size=50 must be between 1 and 49'),
        (lambda c: HoldoutSubset(c, 0, 'train'), 'size=0'),
        (lambda c: HoldoutSubset(c, 5, 'test'), "part='test'"),
        (lambda c: Subset(c, NUM + 1), 'num=51 must be between 1 and 50'),
    ],
)
def test_impossible_parts_are_refused(build, message):
    with pytest.raises(ConfigError, match=message):
        build(dict(type='CountingDataset'))
