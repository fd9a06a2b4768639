import random

import numpy as np
import pytest
import torch
from mmengine.hooks import Hook
from torch.utils.data import DataLoader, Dataset

from dynnet.engine.hooks import EpochSeedHook
from dynnet.engine.hooks.epoch_seed_hook import init_worker, seed_everything
from dynnet.utils.errors import ConfigError


class StopInSecondEpoch(Hook):
    """A crash in the middle of the second epoch."""

    def after_train_iter(self, runner, *args, **kwargs):
        if runner.iter == 7:
            raise InterruptedError


def train_in_two_parts(tiny_runner, work_dir, **options):
    """Train, crash and resume."""
    first = tiny_runner(work_dir, **options)
    first.register_hook(StopInSecondEpoch())
    with pytest.raises(InterruptedError):
        first.train()
    np.random.seed(99)  # a new process would not stand where the old one stood
    torch.manual_seed(99)
    second = tiny_runner(work_dir, **options, resume=True)
    second.train()
    assert second.epoch == 3


def weights(path):
    return torch.load(path, weights_only=False)['state_dict']


def assert_same(first, second):
    assert first.keys() == second.keys()
    for name in first:
        assert torch.equal(first[name], second[name]), name


@pytest.mark.parametrize('workers', [0, 2])
def test_a_resumed_run_equals_an_uninterrupted_one(tiny_runner, tmp_path, workers):
    options = {'train_dataloader.num_workers': workers}
    tiny_runner(tmp_path / 'whole', **options).train()
    train_in_two_parts(tiny_runner, tmp_path / 'cut', **options)
    whole = weights(tmp_path / 'whole/epoch_3.pth')
    cut = weights(tmp_path / 'cut/epoch_3.pth')
    assert whole.keys() == cut.keys()
    for name in whole:
        assert torch.equal(whole[name], cut[name]), name


def test_without_the_hook_they_differ(tiny_runner, tmp_path):
    """The test above would pass for a training without randomness, too."""
    tiny_runner(tmp_path / 'whole', custom_hooks=[]).train()
    train_in_two_parts(tiny_runner, tmp_path / 'cut', custom_hooks=[])
    whole = weights(tmp_path / 'whole/epoch_3.pth')
    cut = weights(tmp_path / 'cut/epoch_3.pth')
    assert any(not torch.equal(whole[name], cut[name]) for name in whole)


def draw():
    return random.random(), np.random.rand(), torch.rand(1).item()


def test_every_place_draws_its_own_numbers():
    drawn = {}
    base = (0, 1, 10, 0, 0)
    places = [base] + [
        tuple(value + (i == k) for i, value in enumerate(base)) for k in range(5)
    ]
    for place in places:
        seed_everything(*place)
        drawn[place] = draw()
        seed_everything(*place)
        assert draw() == drawn[place]
    for column in zip(*drawn.values(), strict=True):
        assert len(set(column)) == len(places)


class _Drawn(Dataset):
    def __len__(self):
        return 4

    def __getitem__(self, index):
        return draw()


def test_workers_draw_from_their_own_number():
    called = []

    class Run:
        seed, epoch, iter = 3, 2, 20
        train_dataloader = DataLoader(_Drawn(), num_workers=2, collate_fn=list)

    hook = EpochSeedHook()
    hook.before_train(Run)
    hook.before_train_epoch(Run)
    first = [batch[0] for batch in Run.train_dataloader]
    hook.before_train_epoch(Run)
    assert [batch[0] for batch in Run.train_dataloader] == first
    assert len(set(first)) == 4
    Run.epoch = 3
    hook.before_train_epoch(Run)
    assert not set(first) & {batch[0] for batch in Run.train_dataloader}
    init_worker(1, before=called.append, place=(3, 2, 20, 0))
    assert called == [1] and draw() == first[1]


def test_workers_that_live_on_are_refused(tiny_runner, tmp_path):
    options = {
        'train_dataloader.num_workers': 1,
        'train_dataloader.persistent_workers': True,
    }
    with pytest.raises(ConfigError, match='persistent_workers=False'):
        tiny_runner(tmp_path, **options).train()
