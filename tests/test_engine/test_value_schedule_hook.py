"""The value that an iteration sees follows from its number alone."""

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch import nn
from torch.utils.data import Dataset

from dynnet.engine.hooks.value_schedule_hook import ValueScheduleHook, find_targets


class Gate(nn.Module):
    def __init__(self):
        super().__init__()
        self.tau = 1.0
        self.linear = nn.Linear(1, 1)


class Toy(BaseModel):
    def __init__(self):
        super().__init__()
        self.gates = nn.ModuleList([Gate(), Gate()])
        self.alpha = -1.0
        self.seen = []

    def forward(self, inputs, mode='loss'):
        self.seen.append((self.alpha, *(gate.tau for gate in self.gates)))
        return dict(loss=sum(gate.linear(inputs).mean() for gate in self.gates))


class Ones(Dataset):
    def __len__(self):
        return 8

    def __getitem__(self, index):
        return dict(inputs=torch.ones(1))


class Stop(Hook):
    def after_train_epoch(self, runner):
        if runner.epoch == 1:  # the second epoch
            raise KeyboardInterrupt


def run(work_dir, *hooks, resume=False, **loop):
    model = Toy()
    runner = Runner(
        model=model,
        work_dir=str(work_dir),
        train_dataloader=dict(
            batch_size=2,
            dataset=Ones(),
            sampler=dict(type='DefaultSampler'),
            collate_fn=dict(type='default_collate'),
        ),
        train_cfg=loop or dict(by_epoch=True, max_epochs=3),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.0)),
        custom_hooks=list(hooks),
        resume=resume,
        experiment_name=f'{work_dir.name}-{resume}',
        default_scope='mmengine',
    )
    try:
        runner.train()
    except KeyboardInterrupt:
        pass
    return model.seen, runner


def schedules():
    return (
        ValueScheduleHook('*.tau', (5.0, 0.1), rule='exp'),
        ValueScheduleHook('alpha', (0.0, 1.0), end=2, per_iter=False),
    )


def test_values_by_iteration_and_by_epoch(tmp_path):
    seen, runner = run(tmp_path, *schedules())
    assert len(seen) == 12
    for i, (alpha, *taus) in enumerate(seen):
        assert alpha == [0, 0.5, 1][i // 4]
        assert taus == [pytest.approx(5 * 0.02 ** (i / 12))] * 2
    log = runner.message_hub.get_scalar('train/schedule/tau')
    assert log.current() == pytest.approx(5 * 0.02 ** (11 / 12))


def test_resumed_run_goes_on_where_it_was(tmp_path):
    whole, _ = run(tmp_path / 'whole', *schedules())
    first, _ = run(tmp_path / 'parts', *schedules(), Stop())
    second, _ = run(tmp_path / 'parts', *schedules(), resume=True)
    # It stopped before the second epoch was saved.
    assert first == whole[:8] and second == whole[4:]


def test_loop_by_iterations(tmp_path):
    hook = ValueScheduleHook('alpha', (0, 10), begin=2, end=7, by_epoch=False)
    seen, _ = run(tmp_path, hook, by_epoch=False, max_iters=10)
    assert [s[0] for s in seen] == [0, 0, 0, 2, 4, 6, 8, 10, 10, 10]
    hook = ValueScheduleHook('alpha', (0, 10))  # epochs, to the end of the training
    seen, _ = run(tmp_path / 'b', hook, by_epoch=False, max_iters=10)
    assert [s[0] for s in seen] == pytest.approx(list(range(10)))


def test_paths():
    model = Toy()
    assert find_targets(model, ['gates.1.tau']) == [(model.gates[1], 'tau')]
    assert len(find_targets(model, ['*.tau', 'alpha'])) == 3
    for path in ('gates.2.tau', 'gates.x.tau', '*.nothing', 'head.loss.weight', 'beta'):
        with pytest.raises(AttributeError, match=rf'Toy has no attribute .{path[0]}'):
            find_targets(model, [path])


def test_bad_settings_are_refused_at_once():
    with pytest.raises(ValueError, match='unknown rule'):
        ValueScheduleHook('alpha', (0, 1), rule='sine')
    with pytest.raises(ValueError, match='one sign'):
        ValueScheduleHook('alpha', (0, 1), rule='exp')
    with pytest.raises(ValueError, match='first and the last'):
        ValueScheduleHook('alpha', (1,))
