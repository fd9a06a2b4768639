import numpy as np
import pytest
import torch
from mmengine.hooks import Hook

from dynnet.engine.hooks.non_finite_loss_hook import non_finite
from dynnet.utils.errors import NonFiniteLossError


class SpoilLoss(Hook):
    """Make one entry of the losses of an iteration bad."""

    priority = 'VERY_HIGH'

    def __init__(self, iteration, **entries):
        self.iteration, self.entries = iteration, entries

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if runner.iter == self.iteration:
            outputs.update({k: torch.tensor(v) for k, v in self.entries.items()})


class SpoilWeights(Hook):
    """Make a weight bad behind a finite loss."""

    def after_train_iter(self, runner, *args, **kwargs):
        if runner.iter == 9:
            next(runner.model.parameters()).data[0] = float('inf')


def prepend(runner, hook):
    runner.register_hook(hook)
    runner._hooks.insert(0, runner._hooks.pop(runner._hooks.index(hook)))


@pytest.mark.parametrize('value', [float('nan'), float('inf'), -float('inf')])
def test_stops_with_iteration_epoch_and_names(tiny_runner, tmp_path, value):
    runner = tiny_runner(tmp_path)
    prepend(runner, SpoilLoss(7, loss_exit2=value, loss_exit1=1.0))
    message = (
        rf'epoch 2, iteration 8: loss_exit2 = {value:g}; the last good checkpoint is '
        r'.*epoch_1\.pth$'
    )
    with pytest.raises(NonFiniteLossError, match=message):
        runner.train()
    assert [path.name for path in tmp_path.glob('*.pth')] == ['epoch_1.pth']
    state = torch.load(tmp_path / 'epoch_1.pth', weights_only=False)['state_dict']
    assert all(value.isfinite().all() for value in state.values())


def test_stops_before_the_checkpoint_of_the_same_iteration(tiny_runner, tmp_path):
    runner = tiny_runner(tmp_path)
    prepend(runner, SpoilLoss(4, loss=float('nan')))  # the last one of the epoch
    with pytest.raises(NonFiniteLossError, match='no checkpoint was saved'):
        runner.train()
    assert not list(tmp_path.glob('*.pth'))


def test_a_real_explosion_stops(tiny_runner, tmp_path):
    options = {
        'optim_wrapper.optimizer.lr': 1e30,
        'train_dataloader.dataset.pipeline': [dict(type='PackInputs')],
        'model.head.loss': dict(type='CrossEntropyLoss', loss_weight=1e30),
    }
    with pytest.raises(NonFiniteLossError, match='training stopped in epoch 1'):
        tiny_runner(tmp_path, **options).train()
    assert not list(tmp_path.glob('*.pth'))


def test_bad_weights_behind_a_finite_loss_are_not_saved(tiny_runner, tmp_path):
    runner = tiny_runner(tmp_path)
    runner.register_hook(SpoilWeights())
    message = r'weights backbone\.features\.0\.weight; .*epoch_1\.pth$'
    with pytest.raises(NonFiniteLossError, match=message):
        runner.train()
    assert [path.name for path in tmp_path.glob('*.pth')] == ['epoch_1.pth']


def test_infinite_buffers_may_be_saved(tiny_runner, tmp_path):
    runner = tiny_runner(tmp_path, **{'train_cfg.max_epochs': 1})
    runner.model.register_buffer('thresholds', torch.tensor([0.5, float('inf')]))
    runner.train()
    assert (tmp_path / 'epoch_1.pth').is_file()


def test_other_entries_do_not_matter(tiny_runner, tmp_path):
    runner = tiny_runner(tmp_path)
    prepend(runner, SpoilLoss(3, grad_norm=float('inf')))
    runner.train()
    assert (tmp_path / 'epoch_3.pth').is_file()


def test_non_finite_names():
    values = dict(
        a=torch.tensor(1.0),
        b=torch.tensor([1.0, np.nan]),
        c=float('inf'),
        d=3,
        e='text',
        f=torch.tensor(2),
        g=torch.tensor(-np.inf, dtype=torch.float16),
    )
    assert non_finite(values) == ['b', 'c', 'g']
    assert non_finite({}) == []
