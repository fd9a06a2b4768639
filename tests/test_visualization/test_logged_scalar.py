"""Logged scalars: read from mmengine's files, several of them, broken ones named."""

import importlib.util
import json
from pathlib import Path

import pytest

from dynnet.utils.cli import run_main
from dynnet.utils.errors import DataError
from dynnet.visualization import plot_scalar, read_scalar
from dynnet.visualization.logged_scalar import mean_curve

TOOL = Path(__file__).parents[2] / 'tools/analysis_tools/plot_scalar.py'


def write(path: Path, entries: list[dict]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(''.join(json.dumps(entry) + '\n' for entry in entries))
    return path


def entry(epoch: int, step: int, reward: float) -> dict:
    return dict(epoch=epoch, iter=step, step=step, reward=reward, loss=1.0)


@pytest.fixture
def work_dir(tmp_path):
    """Three epochs of two entries each; the run was resumed after the first."""
    first = [entry(1, 1, 0.0), entry(1, 2, 2.0), entry(2, 3, -9.0)]
    first.append({'video/top1': 50.0, 'step': 1})
    again = [entry(2, 3, 3.0), entry(2, 4, 5.0), entry(3, 5, 6.0)]
    again.append({'video/top1': 75.0, 'step': 3})
    write(tmp_path / '20260101_100000/vis_data/scalars.json', first)
    write(tmp_path / '20260101_110000/vis_data/scalars.json', again)
    return tmp_path


def test_epochs_are_means_and_what_was_resumed_counts_once(work_dir):
    assert read_scalar(work_dir, 'reward') == ([1, 2, 3], [1.0, 4.0, 6.0])
    by_iter = read_scalar(work_dir, 'reward', by='iter')
    assert by_iter == ([1, 2, 3, 4, 5], [0.0, 2.0, 3.0, 5.0, 6.0])
    # A validation is logged with its epoch as the step.
    assert read_scalar(work_dir, 'video/top1') == ([1, 3], [50.0, 75.0])


def test_the_mean_goes_over_what_all_runs_have():
    curves = [([1, 2, 3], [0.0, 2.0, 4.0]), ([2, 3, 4], [4.0, 8.0, 1.0])]
    assert mean_curve(curves) == ([2, 3], [3.0, 6.0])


def test_logs_that_cannot_be_read_are_named(work_dir, tmp_path):
    with pytest.raises(DataError, match="no 'rewards' by epoch; it has .*reward"):
        read_scalar(work_dir, 'rewards')
    with pytest.raises(DataError, match="no 'video/top1' by iter"):
        read_scalar(work_dir, 'video/top1', by='iter')
    with pytest.raises(DataError, match='absent.json: no such file'):
        read_scalar(tmp_path / 'absent.json', 'reward')
    empty = tmp_path / 'empty'
    empty.mkdir()
    with pytest.raises(DataError, match='empty: no .*scalars.json'):
        read_scalar(empty, 'reward')
    for text, message in (('{"reward": 1\n', 'Expecting'), ('[1]\n', 'no JSON')):
        broken = tmp_path / 'broken.json'
        broken.write_text(json.dumps(entry(1, 1, 0.0)) + '\n' + text)
        with pytest.raises(DataError, match=f'broken.json, line 2: {message}'):
            read_scalar(broken, 'reward')
    with pytest.raises(DataError, match='no curve'):
        plot_scalar({'a': []}, tmp_path / 'a.png', 'reward')


def test_the_command_line(work_dir, tmp_path, capsys):
    spec = importlib.util.spec_from_file_location('plot_scalar', TOOL)
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    log = write(tmp_path / 'other.json', [entry(1, 1, 3.0), entry(2, 2, 6.0)])
    out = tmp_path / 'pictures/reward.png'
    args = ['reward', '--out', str(out), '--run', 'two', str(work_dir), str(log)]
    tool.main([*args, '--run', 'one', str(log)])
    assert out.read_bytes()[:4] == b'\x89PNG'
    shown = capsys.readouterr().out.splitlines()
    assert shown[0] == 'two: 1 (epoch 1) to 6 (3)'
    assert shown[2] == 'one: 3 (epoch 1) to 6 (2)'
    assert run_main(lambda: tool.main([*args[:4], 'two'])) == 1
    assert 'no log after the name' in capsys.readouterr().err
