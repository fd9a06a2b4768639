"""Thresholds travel in a checkpoint: the tool that embeds, the hook that loads."""

import os
import pickle
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.logging import MessageHub, MMLogger

from dynnet.engine.hooks.exit_thresholds_hook import LoadExitThresholdsHook
from dynnet.models.exits import BudgetSolver, ExitThresholds, MaxSoftmax

TOOLS = Path(__file__).parents[2] / 'tools/model_converters'


@pytest.fixture
def tool(monkeypatch):
    monkeypatch.syspath_prepend(str(TOOLS))
    import embed_thresholds

    yield embed_thresholds
    sys.modules.pop('embed_thresholds')


def solve(num_exits=3, **solver):
    scores = np.random.default_rng(0).random((num_exits, 60)).astype(np.float32)
    costs = [10.0 * (k + 1) for k in range(num_exits)]
    points = BudgetSolver(**solver).solve(scores, costs, scores > 0.2)
    return ExitThresholds(dict(type='MaxSoftmax'), costs, points)


@pytest.fixture
def files(tmp_path):
    """A checkpoint as mmengine's runner writes it, and a thresholds file."""
    hub = MessageHub.get_instance('embed')
    hub.update_scalar('train/loss', np.float32(1.5))
    weights = {f'head.exits.{k}.linear.bias': torch.ones(2) * k for k in range(3)}
    checkpoint = dict(
        meta=dict(epoch=3, seed=np.int64(1)),
        state_dict=weights,
        message_hub=hub.state_dict(),
        optimizer=dict(state={0: dict(momentum_buffer=torch.ones(2))}),
    )
    torch.save(checkpoint, tmp_path / 'epoch_3.pth')
    solve(p=[5, 10, 30]).save(tmp_path / 'thresholds.json')
    return SimpleNamespace(
        checkpoint=tmp_path / 'epoch_3.pth',
        thresholds=tmp_path / 'thresholds.json',
        out=tmp_path / 'out.pth',
    )


def make_runner(thresholds=None, num_exits=3):
    model = SimpleNamespace(num_exits=num_exits, thresholds=thresholds)

    def set_thresholds(solved, budget=None):
        if solved is not None:
            solved.check_model(MaxSoftmax().config, model.num_exits)
            point = solved.points[0] if budget is None else solved.choose(budget)
            solved = point.thresholds
        model.thresholds = solved

    model.set_thresholds = set_thresholds
    return SimpleNamespace(model=model, logger=MMLogger.get_current_instance())


def test_embedded_thresholds_reach_the_model(tool, files):
    before = files.checkpoint.read_bytes()
    tool.main([str(files.checkpoint), str(files.thresholds), str(files.out)])
    assert files.checkpoint.read_bytes() == before
    checkpoint = tool.load_checkpoint(files.out)
    assert checkpoint['meta']['epoch'] == 3
    assert checkpoint['message_hub']['log_scalars']['train/loss'].current() == 1.5
    torch.testing.assert_close(
        checkpoint['state_dict']['head.exits.2.linear.bias'], torch.full((2,), 2.0)
    )

    runner = make_runner()
    solved = ExitThresholds.load(files.thresholds)
    hook = LoadExitThresholdsHook(budget=25)
    hook.after_load_checkpoint(runner, checkpoint)
    assert runner.model.thresholds == solved.choose(25).thresholds
    # Training changes the weights that they were solved for.
    hook.before_train(runner)
    assert runner.model.thresholds is None


def test_embedding_again_replaces(tool, files, tmp_path):
    tool.embed(files.checkpoint, files.thresholds, files.out)
    other = solve(strategy='budget', budgets=[15])
    other.save(files.thresholds)
    tool.embed(files.out, files.thresholds, tmp_path / 'again.pth')
    embedded = tool.load_checkpoint(tmp_path / 'again.pth')['meta']['exit_thresholds']
    assert ExitThresholds.from_dict(embedded) == other


def test_the_configs_thresholds_win():
    runner = make_runner(thresholds=[0.1, 0.2])
    meta = dict(exit_thresholds=solve(p=[10]).to_dict())
    hook = LoadExitThresholdsHook()
    hook.after_load_checkpoint(runner, dict(meta=meta))
    hook.before_train(runner)
    assert runner.model.thresholds == [0.1, 0.2]


def test_a_single_point_needs_no_budget():
    runner, solved = make_runner(), solve(p=[10])
    checkpoint = dict(meta=dict(exit_thresholds=solved.to_dict()))
    LoadExitThresholdsHook().after_load_checkpoint(runner, checkpoint)
    assert runner.model.thresholds == solved.points[0].thresholds


def test_several_points_without_a_budget_are_left_alone():
    runner = make_runner()
    checkpoint = dict(meta=dict(exit_thresholds=solve(p=[5, 10]).to_dict()))
    LoadExitThresholdsHook().after_load_checkpoint(runner, checkpoint)
    assert runner.model.thresholds is None


@pytest.mark.parametrize('checkpoint', [{}, dict(meta=None), dict(meta={})])
def test_a_checkpoint_without_thresholds(checkpoint):
    runner = make_runner()
    LoadExitThresholdsHook(budget=1).after_load_checkpoint(runner, checkpoint)
    assert runner.model.thresholds is None


def test_a_plain_model_is_left_alone():
    runner = SimpleNamespace(model=torch.nn.Linear(1, 1))
    checkpoint = dict(meta=dict(exit_thresholds='whatever'))
    LoadExitThresholdsHook().after_load_checkpoint(runner, checkpoint)


def test_thresholds_that_do_not_fit():
    checkpoint = dict(meta=dict(exit_thresholds=solve(p=[10]).to_dict()))
    with pytest.raises(ValueError, match='for 3 exits, the model has 4'):
        LoadExitThresholdsHook().after_load_checkpoint(
            make_runner(num_exits=4), checkpoint
        )
    with pytest.raises(ValueError, match='below the minimum 10 MACs'):
        LoadExitThresholdsHook(budget=3).after_load_checkpoint(
            make_runner(), checkpoint
        )
    del checkpoint['meta']['exit_thresholds']['points']
    with pytest.raises(ValueError, match=r"meta\['exit_thresholds'\]: key 'points'"):
        LoadExitThresholdsHook().after_load_checkpoint(make_runner(), checkpoint)


def test_embedding_refuses_a_mismatch(tool, files):
    solve(num_exits=4).save(files.thresholds)
    with pytest.raises(RuntimeError, match='has 3 exits .* thresholds for 4'):
        tool.embed(files.checkpoint, files.thresholds, files.out)
    files.thresholds.write_text('{}')
    with pytest.raises(ValueError, match='thresholds.json: not exit thresholds'):
        tool.embed(files.checkpoint, files.thresholds, files.out)
    assert not files.out.exists()


def test_embedding_refuses_the_checkpoint_itself(tool, files):
    with pytest.raises(RuntimeError, match='is the checkpoint itself'):
        tool.embed(files.checkpoint, files.thresholds, files.checkpoint)


class RunsCode:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


class ReachesOut:
    def __reduce__(self):
        return getattr, (np.ndarray, 'tofile')


def test_a_file_that_wants_to_run_code(tool, files, tmp_path):
    torch.save(dict(state_dict={}, evil=RunsCode(tmp_path / 'ran')), files.checkpoint)
    with pytest.raises(
        RuntimeError, match='not a checkpoint that the safe loader opens'
    ):
        tool.embed(files.checkpoint, files.thresholds, files.out)
    assert not (tmp_path / 'ran').exists() and not files.out.exists()
    torch.save(dict(state_dict={}, evil=ReachesOut()), files.checkpoint)
    with pytest.raises(
        RuntimeError, match='not a checkpoint that the safe loader opens'
    ):
        tool.load_checkpoint(files.checkpoint)


def test_files_that_are_no_checkpoints(tool, files, tmp_path):
    with pytest.raises(RuntimeError, match='missing.pth does not exist'):
        tool.load_checkpoint(tmp_path / 'missing.pth')
    files.checkpoint.write_bytes(b'not a checkpoint')
    with pytest.raises(RuntimeError, match='epoch_3.pth: not a checkpoint'):
        tool.load_checkpoint(files.checkpoint)
    files.checkpoint.write_bytes(pickle.dumps([1, 2]))
    with pytest.raises(RuntimeError, match='epoch_3.pth: not a checkpoint'):
        tool.load_checkpoint(files.checkpoint)
    torch.save(dict(weights=torch.ones(2)), files.checkpoint)
    with pytest.raises(RuntimeError, match="it has no 'state_dict'"):
        tool.load_checkpoint(files.checkpoint)


def test_a_full_disk_leaves_no_copy(tool, files, monkeypatch):
    def full_disk(descriptor):
        raise OSError('No space left on device')

    monkeypatch.setattr('dynnet.utils.atomic.os.fsync', full_disk)
    with pytest.raises(OSError, match='No space left'):
        tool.embed(files.checkpoint, files.thresholds, files.out)
    assert not files.out.exists()
