import errno
import os
from pathlib import Path

import pytest
import torch
from mmengine.evaluator import BaseMetric
from mmengine.registry import METRICS

from dynnet.utils import atomic
from dynnet.utils.atomic import remove_leftovers, write_atomic
from dynnet.utils.errors import CheckpointError


@METRICS.register_module(force=True)
class Scripted(BaseMetric):
    """Gives the scores of a list, one for each validation."""

    def __init__(self, scores):
        super().__init__()
        self.scores = list(scores)

    def process(self, data_batch, data_samples):
        self.results.append(0)

    def compute_metrics(self, results):
        return dict(score=self.scores.pop(0))


def saved(folder):
    return sorted(path.name for path in folder.glob('*.pth*'))


def last(folder):
    return Path((folder / 'last_checkpoint').read_text())


def full_disk(*args):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.fixture
def sabotage(monkeypatch):
    """Let every call of a function of `os` from the n-th on fail: the disk is full."""

    def start(function, call):
        real, calls = getattr(os, function), []

        def counting(*args, **kwargs):
            calls.append(args)
            return (full_disk if len(calls) >= call else real)(*args, **kwargs)

        monkeypatch.setattr(atomic.os, function, counting)

    return start


def test_keeps_the_last_ones(tiny_runner, tmp_path):
    tiny_runner(tmp_path, **{'default_hooks.checkpoint.max_keep_ckpts': 2}).train()
    assert saved(tmp_path) == ['epoch_2.pth', 'epoch_3.pth']
    assert last(tmp_path) == tmp_path / 'epoch_3.pth'


def test_keeps_everything_when_asked_to(tiny_runner, tmp_path):
    tiny_runner(tmp_path, **{'default_hooks.checkpoint.max_keep_ckpts': -1}).train()
    assert saved(tmp_path) == ['epoch_1.pth', 'epoch_2.pth', 'epoch_3.pth']


@pytest.mark.parametrize(
    ('scores', 'best'), [([1, 3, 2], 2), ([3, 2, 1], 1), ([1, 2, 3], 3)]
)
def test_keeps_the_best_one(tiny_runner, tmp_path, scores, best):
    runner = tiny_runner(
        tmp_path,
        val_evaluator=dict(type='Scripted', scores=scores),
        **{
            'default_hooks.checkpoint.max_keep_ckpts': 1,
            'default_hooks.checkpoint.save_best': 'score',
            'default_hooks.checkpoint.rule': 'greater',
        },
    )
    runner.train()
    assert saved(tmp_path) == [f'best_score_epoch_{best}.pth', 'epoch_3.pth']
    checkpoint = torch.load(tmp_path / 'epoch_3.pth', weights_only=False)
    assert checkpoint['message_hub']['runtime_info']['best_score'] == max(scores)


# In one save: fsync of the file and of its folder, then the same for last_checkpoint.
@pytest.mark.parametrize(('function', 'per_save'), [('fsync', 4), ('replace', 2)])
@pytest.mark.parametrize('step', [1, 'last'])
def test_a_full_disk_costs_nothing(
    tiny_runner, tmp_path, sabotage, function, per_save, step
):
    first = 2 * per_save + 1 if step == 1 else 3 * per_save - (function == 'fsync')
    sabotage(function, first)
    options = {'default_hooks.checkpoint.max_keep_ckpts': 1}
    with pytest.raises(CheckpointError, match='cannot write .*No space left'):
        tiny_runner(tmp_path, **options).train()
    assert last(tmp_path) == tmp_path / 'epoch_2.pth'
    torch.load(last(tmp_path), weights_only=False)
    assert not list(tmp_path.glob(f'*{atomic.SUFFIX}'))
    assert saved(tmp_path) == ['epoch_2.pth'] + ['epoch_3.pth'] * (step == 'last')


def test_a_full_disk_does_not_cost_the_best_one(tiny_runner, tmp_path, sabotage):
    # Each epoch renames: epoch, last_checkpoint, best, epoch, last_checkpoint.
    sabotage('replace', 8)
    runner = tiny_runner(
        tmp_path,
        val_evaluator=dict(type='Scripted', scores=[1, 2, 3]),
        **{
            'default_hooks.checkpoint.max_keep_ckpts': 1,
            'default_hooks.checkpoint.save_best': 'score',
            'default_hooks.checkpoint.rule': 'greater',
        },
    )
    with pytest.raises(CheckpointError, match='best_score_epoch_2.pth'):
        runner.train()
    assert saved(tmp_path) == ['best_score_epoch_1.pth', 'epoch_2.pth']
    for path in tmp_path.glob('*.pth'):
        torch.load(path, weights_only=False)


def test_a_resumed_run_removes_what_a_killed_one_left(tiny_runner, tmp_path):
    options = {'default_hooks.checkpoint.max_keep_ckpts': 1}
    killed = tiny_runner(tmp_path, **options)
    killed.train()
    # Killed between the second save and the removal of the first checkpoint, and
    # before that in the middle of a save.
    hub = torch.load(tmp_path / 'epoch_3.pth', weights_only=False)['message_hub']
    assert hub['runtime_info']['keep_ckpt_ids'] == [2, 3]
    (tmp_path / 'epoch_2.pth').write_bytes(b'outdated')
    (tmp_path / f'epoch_4.pth{atomic.SUFFIX}').write_bytes(b'half')
    tiny_runner(tmp_path, **options, resume=True).train()
    assert saved(tmp_path) == ['epoch_3.pth']


def test_a_checkpoint_resumes_with_everything(tiny_runner, tmp_path):
    options = {'default_hooks.checkpoint.max_keep_ckpts': 1}
    tiny_runner(tmp_path, **options).train()
    runner = tiny_runner(tmp_path, **options, resume=True)
    runner.train()
    assert (runner.epoch, runner.iter) == (3, 15)
    momentum = [
        state['momentum_buffer'].abs().sum().item()
        for state in runner.optim_wrapper.optimizer.state.values()
    ]
    assert momentum and min(momentum) > 0
    assert runner.optim_wrapper.get_lr()['lr'] == [pytest.approx(0.005)]
    assert len(runner.message_hub.get_scalar('train/loss')._log_history) == 15


def test_write_atomic_replaces_and_cleans(tmp_path, monkeypatch):
    path = tmp_path / 'new' / 'file'
    write_atomic(path, b'old')
    write_atomic(path, b'new')
    assert path.read_bytes() == b'new' and os.listdir(path.parent) == ['file']
    monkeypatch.setattr(atomic.os, 'fsync', full_disk)
    with pytest.raises(OSError, match='No space'):
        write_atomic(path, b'newer')
    assert path.read_bytes() == b'new' and os.listdir(path.parent) == ['file']
    left = path.with_name(f'other{atomic.SUFFIX}')
    left.touch()
    assert remove_leftovers(path.parent) == [left] and not left.exists()
