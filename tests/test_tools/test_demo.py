"""tools/demo.py, on made pictures in Fashion-MNIST's own form."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from dynnet.utils.optional import is_available

pytestmark = pytest.mark.skipif(
    not is_available('mmpretrain'), reason='the demo is an mmpretrain config'
)
ROOT = Path(__file__).parents[2]
WRITTEN = ('budget_curve.png', 'exits.png', 'thresholds.json', 'metrics.json')


@pytest.fixture(scope='module')
def demo():
    spec = importlib.util.spec_from_file_location('demo', ROOT / 'tools/demo.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope='module')
def fashion_mnist(tmp_path_factory):
    """Ten patterns with noise, as many as Fashion-MNIST has pictures."""
    folder = tmp_path_factory.mktemp('fashion')
    rng = np.random.default_rng(0)
    patterns = rng.integers(0, 200, (10, 28, 28), dtype=np.uint8)
    for split, number in (('train', 60000), ('t10k', 10000)):
        labels = (np.arange(number) % 10).astype(np.uint8)
        noise = rng.integers(0, 50, (1000, 28, 28), dtype=np.uint8)
        thousand = np.tile(patterns, (100, 1, 1)) + noise
        pictures = np.tile(thousand, (number // 1000, 1, 1))
        for name, array in (('images-idx3', pictures), ('labels-idx1', labels)):
            header = [2048 + array.ndim, *array.shape]
            content = b''.join(int(n).to_bytes(4, 'big') for n in header)
            path = folder / f'{split}-{name}-ubyte'
            path.write_bytes(content + array.tobytes())
    return folder


def check_results(work: Path, shown: str) -> None:
    for name in WRITTEN:
        assert (work / name).stat().st_size > 500
        assert name in shown
    for name in WRITTEN[:2]:
        assert (work / name).read_bytes().startswith(b'\x89PNG')
    metrics = json.loads((work / 'metrics.json').read_text())
    assert 0 <= metrics['anytime/exit6_ece'] <= 100
    assert f'{metrics["anytime/exit6_top1"]:.2f}' in shown
    assert f'{metrics["budgeted/p20_top1"]:.2f}' in shown
    thresholds = json.loads((work / 'thresholds.json').read_text())
    assert thresholds['calibration']['num_samples'] == 400
    rows = json.loads((work / 'executed.json').read_text())
    assert len(rows) == 5  # four budgets and the full forward
    assert all(row['same_as_simulated'] == 400 for row in rows[:-1])
    assert 'agree (exit and class) in 1600 of 1600' in shown
    assert 'ms/picture' in shown and 'left: 0:' in shown and 'Done in' in shown


@pytest.mark.slow
def test_quick_demo(fashion_mnist, tmp_path):
    env = dict(os.environ, FASHION_MNIST_ROOT=str(fashion_mnist))
    done = subprocess.run(
        [sys.executable, 'tools/demo.py', '--quick', '--work-dir', str(tmp_path)],
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    check_results(tmp_path, done.stdout)


def test_demo_in_one_process(demo, fashion_mnist, tmp_path, monkeypatch, capsys):
    """The same without new processes, whose imports take most of the time."""
    monkeypatch.setenv('FASHION_MNIST_ROOT', str(fashion_mnist))
    monkeypatch.chdir(ROOT)
    commands = []

    def run_tool(script, *arguments):
        commands.append(script)
        spec = importlib.util.spec_from_file_location('tool', ROOT / script)
        tool = importlib.util.module_from_spec(spec)
        # dataclasses look their module up
        monkeypatch.setitem(sys.modules, 'tool', tool)
        spec.loader.exec_module(tool)
        arguments = [*arguments]
        if '--cfg-options' in arguments:
            arguments += ['train_dataloader.num_workers=0']
            arguments += ['val_dataloader.num_workers=0']
            arguments += ['test_dataloader.num_workers=0']
            arguments += [f'experiment_name=demo{len(commands)}']
        capsys.readouterr()
        tool.main(arguments)
        out, err = capsys.readouterr()
        shown.append(out + err)
        yield from (out + err).splitlines()

    shown = []
    monkeypatch.setattr(demo, 'run_tool', run_tool)
    printed = []

    def keep(*texts, flush=False):
        printed.append(' '.join(texts))

    monkeypatch.setattr(demo, 'print', keep, raising=False)
    demo.main(['--quick', '--work-dir', str(tmp_path)])
    assert commands == [
        'tools/dataset_converters/prepare_fashion_mnist.py',
        'tools/train.py',
        'tools/test.py',
        'tools/analysis_tools/execute_budgets.py',
        'tools/analysis_tools/plot_budget_curve.py',
    ]
    check_results(tmp_path, '\n'.join(printed))


def test_training_log_is_shortened(demo, capsys):
    demo.show_training(
        [
            'System environment: ...',
            '11/23 07:23:49 - mmengine - INFO - Epoch(train)   [2][ 50/343]  '
            'lr: 9.5e-02  eta: 1 day, 0:03:45  time: 1.2361  data_time: 0.0397  '
            'loss: 6.0184  loss_exit1: 0.9547',
            '11/23 07:23:59 - mmengine - INFO - Epoch(val) [2][20/20]    '
            'anytime/exit1_top1: 74.8000  anytime/exit1_ece: 2.9  anytime/exit2_top1: '
            '75.9800  anytime/last_top1: 75.98',
        ]
    )
    assert capsys.readouterr().out.splitlines() == [
        '  epoch 2,   50/343   left: 1 day, 0:03:45   loss of all exits: 6.018',
        '  held-out accuracy (%) of exits 1..: 74.8  76.0',
    ]


def test_a_failing_step_is_named(demo, tmp_path, capsys):
    lines = demo.run_tool('tools/train.py', str(tmp_path / 'no such.py'))
    with pytest.raises(demo.StepError, match='train.py failed: error: .*no such.py'):
        list(lines)
    assert f"$ python tools/train.py '{tmp_path}/no such.py'" in capsys.readouterr().out
