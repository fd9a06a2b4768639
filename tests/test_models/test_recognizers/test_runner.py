"""AdaFocus in mmengine's runner: train a chain of stages, test under budgets."""

import copy

import pytest
import torch
from mmengine.registry import DefaultScope
from mmengine.runner import Runner

import dynnet  # noqa: F401
from dynnet.utils.errors import ConfigError
from dynnet.utils.optional import require

from .conftest import FRAMES


class Clips(torch.utils.data.Dataset):
    """The class is the colour of a corner of every frame."""

    def __init__(self, number: int = 12) -> None:
        generator = torch.Generator().manual_seed(number)
        self.labels = torch.arange(number) % 3
        self.frames = torch.randn(number, FRAMES, 3, 48, 48, generator=generator)
        for frames, label in zip(self.frames, self.labels):
            frames[:, label, :20, :20] += 4

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> dict:
        from mmaction.structures import ActionDataSample

        sample = ActionDataSample().set_gt_label(int(self.labels[index]))
        return dict(inputs=self.frames[index], data_samples=sample)


def loader(number: int = 12) -> dict:
    return dict(
        batch_size=4,
        num_workers=0,
        dataset=Clips(number),
        sampler=dict(type='DefaultSampler', shuffle=False),
        collate_fn=dict(type='pseudo_collate'),
    )


@pytest.fixture
def make_runner(small_config, tmp_path):
    require('mmaction')

    def make(name: str, model: dict, **settings) -> Runner:
        model = dict(small_config(), **copy.deepcopy(model))
        # Not from_cfg, which cannot write a data set object into its config file.
        return Runner(
            model=model,
            work_dir=str(tmp_path / name),
            default_scope='mmaction',
            experiment_name=f'{tmp_path.name}-{name}',
            default_hooks=dict(logger=dict(type='LoggerHook', interval=100)),
            randomness=dict(seed=0),
            **settings,
        )

    with DefaultScope.overwrite_default_scope('mmaction'):
        yield make


def train(make_runner, stage: str, load_from: str | None, **model) -> str:
    train_cfg = dict(stage=stage, from_scratch=stage == 'random')
    runner = make_runner(
        stage,
        dict(model, train_cfg=train_cfg),
        train_dataloader=loader(),
        train_cfg=dict(by_epoch=True, max_epochs=1),
        optim_wrapper=dict(optimizer=dict(type='Adam', lr=1e-3)),
        load_from=load_from,
    )
    runner.train()
    return f'{runner.work_dir}/epoch_1.pth'


def test_the_chain_trains_and_clips_leave_under_a_budget(make_runner, tmp_path):
    first = train(make_runner, 'random', None)
    second = train(make_runner, 'policy', first)
    third = train(make_runner, 'finetune', second)
    states = [torch.load(p, weights_only=False)['state_dict'] for p in (first, second)]
    for name, value in states[0].items():
        assert value.equal(states[1][name]) != name.startswith('policy.'), name

    path = str(tmp_path / 'thresholds.json')
    evaluators = [
        dict(type='dynnet.AnytimeAccuracy'),
        dict(type='dynnet.BudgetedBatchMetric'),
        dict(type='dynnet.CostMetric'),
    ]
    shared = dict(test_dataloader=loader(9), test_evaluator=evaluators, load_from=third)
    loop = dict(type='dynnet.EarlyExitTestLoop', calib_dataloader=loader(15))
    runner = make_runner(
        'simulate',
        dict(),
        test_cfg=dict(loop, budgets=[0.5], relative_budgets=True, save_thresholds=path),
        **shared,
    )
    simulated = runner.test()
    costs = runner.model.exit_costs
    (cost,) = (
        value
        for name, value in simulated.items()
        if name.startswith('budgeted/budget') and name.endswith('macs')
    )
    assert simulated['anytime/exit4_macs'] == costs[-1] and cost < costs[-1]
    budget = costs[-1] / 2
    runner = make_runner(
        'execute',
        dict(test_cfg=dict(mode='execute', thresholds=path, budget=budget)),
        test_cfg=dict(type='dynnet.EarlyExitTestLoop'),
        **shared,
    )
    executed = runner.test()
    # Of several points the dearest within the budget is taken: here the solved one.
    assert executed['executed/mean_macs'] <= max(cost, budget)


def test_a_stage_without_its_start_stops_with_one_line(make_runner):
    with pytest.raises(ConfigError, match="'policy' starts from .* set load_from"):
        train(make_runner, 'policy', None)


def test_a_gate_learns_with_a_penalty_that_rises(make_runner, small_config):
    first = train(make_runner, 'random', None)
    policy = dict(small_config()['policy'], with_gate=True)
    penalties = []
    runner = make_runner(
        'gate',
        dict(policy=policy, train_cfg=dict(stage='gate')),
        train_dataloader=loader(),
        train_cfg=dict(by_epoch=True, max_epochs=2),
        optim_wrapper=dict(optimizer=dict(type='Adam', lr=1e-3)),
        load_from=first,
        custom_hooks=[
            dict(
                type='dynnet.ValueScheduleHook',
                targets='skip_penalty',
                values=(0.0, 0.5),
                rule='linear',
            )
        ],
    )
    rollout = runner.model.rollout
    runner.model.rollout = lambda *args: (
        penalties.append(runner.model.skip_penalty),
        rollout(*args),
    )[1]
    runner.train()
    assert penalties[0] == 0 and penalties == sorted(penalties) and penalties[-1] > 0.3
