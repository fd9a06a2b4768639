"""The demo: a small RANet on Fashion-MNIST, from the data to pictures leaving early.

It runs this project's own commands in a row and prints each of them: get the data,
train, test (every exit; thresholds solved on held-out pictures), let the test pictures
really leave early with a clock running, draw.

Example:
    python tools/demo.py
"""

import argparse
import itertools
import json
import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from mmengine.config import Config
from mmengine.runner import find_latest_checkpoint

from dynnet.evaluation.functional import format_table
from dynnet.utils.cli import run_main
from dynnet.utils.errors import DynnetError

ROOT = Path(__file__).resolve().parents[1]
CONFIG = 'configs/ranet/ranet-small_1xb64-2e_fashion-mnist.py'
# Mean cost per picture, in parts of what the last exit costs.
BUDGETS = (0.3, 0.4, 0.5, 0.7)
SHOWN_P = (4, 8, 12, 16, 20, 28, 39)  # rows of the p-grid that are printed
# --quick: few pictures, one epoch. It shows that everything runs, and learns little.
QUICK = (
    'train_dataloader.dataset.dataset.indices=1200',
    'train_dataloader.dataset.size=400',
    'val_dataloader.dataset.dataset.indices=1200',
    'val_dataloader.dataset.size=400',
    'test_cfg.calib_dataloader.dataset.dataset.indices=1200',
    'test_cfg.calib_dataloader.dataset.size=400',
    'test_dataloader.dataset.indices=400',
    'train_cfg.max_epochs=1',
    'param_scheduler.0.end=5',
    'default_hooks.logger.interval=5',
)


class StepError(DynnetError):
    """A command of the demo failed."""


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line.

    Args:
        argv: The arguments; None takes those of the process.
    """
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        '--work-dir', default='work_dirs/demo', help='folder for all results'
    )
    parser.add_argument(
        '--checkpoint', help='a trained checkpoint of the demo: do not train again'
    )
    parser.add_argument(
        '--quick',
        action='store_true',
        help='few pictures and one epoch: see in a minute that it runs',
    )
    return parser.parse_args(argv)


def run_tool(script: str, *arguments: str) -> Iterator[str]:
    """Run a script of the project and yield what it prints, line by line.

    Args:
        script: Its path below the project.
        arguments: Its arguments.

    Yields:
        Lines.

    Raises:
        StepError: It failed; its last line is in the message.
    """
    print(f'$ python {shlex.join([script, *arguments])}', flush=True)
    # A second thread takes a sixth off a step of so small a net; on a machine that has
    # something else to do, waiting for it makes a step ten times as long.
    environment = {'OMP_NUM_THREADS': '1', **os.environ}
    process = subprocess.Popen(
        [sys.executable, '-u', str(ROOT / script), *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors='replace',
    )
    last = ''
    with process:
        for line in process.stdout:
            last = line.strip() or last
            yield line.rstrip('\n')
    if process.returncode:
        raise StepError(f'{script} failed: {last}')


def show(lines: Iterable[str]) -> None:
    """Print lines as they come, indented."""
    for line in lines:
        print(f'  {line}', flush=True)


def show_training(lines: Iterable[str]) -> None:
    """Shorten mmengine's log to what one wants to watch.

    Args:
        lines: The log.
    """
    train = re.compile(
        r'Epoch\(train\)\s+\[(\d+)\]\[\s*(\d+)/(\d+)\].*eta: (.+?)  .*? loss: ([\d.]+)'
    )
    for line in lines:
        if match := train.search(line):
            epoch, iteration, total, eta, loss = match.groups()
            print(
                f'  epoch {epoch}, {iteration:>4}/{total}   left: {eta}   '
                f'loss of all exits: {float(loss):.3f}',
                flush=True,
            )
        elif 'Epoch(val)' in line:
            accuracies = re.findall(r'exit\d+_top1: ([\d.]+)', line)
            shown = '  '.join(f'{float(a):.1f}' for a in accuracies)
            print(f'  held-out accuracy (%) of exits 1..: {shown}', flush=True)


def anytime_table(metrics: dict[str, float]) -> str:
    """Every exit's cost, accuracy and calibration error."""
    rows = []
    while (key := f'anytime/exit{len(rows) + 1}') + '_top1' in metrics:
        rows.append(
            [
                str(len(rows) + 1),
                f'{metrics[f"{key}_macs"] / 1e6:.2f}',
                f'{metrics[f"{key}_top1"]:.2f}',
                f'{metrics[f"{key}_ece"]:.2f}',
            ]
        )
    return format_table(['exit', 'MACs (M)', 'top-1 (%)', 'ECE (%)'], rows)


def budget_table(metrics: dict[str, float]) -> str:
    """Some points of the published p-grid, as their thresholds do on the test set."""
    rows = [
        [
            f'p={p}',
            f'{metrics[f"budgeted/p{p}_macs"] / 1e6:.2f}',
            f'{metrics[f"budgeted/p{p}_top1"]:.2f}',
        ]
        for p in SHOWN_P
    ]
    return format_table(['point', 'mean MACs (M)', 'top-1 (%)'], rows)


def train(work: Path, options: tuple[str, ...]) -> str:
    """Train.

    Args:
        work: Folder for the results.
        options: Settings that replace the config's.

    Returns:
        The checkpoint.
    """
    arguments = [CONFIG, '--work-dir', str(work)]
    if options:
        arguments += ['--cfg-options', *options]
    show_training(run_tool('tools/train.py', *arguments))
    return find_latest_checkpoint(str(work))


def test(checkpoint: str, work: Path, options: tuple[str, ...]) -> dict[str, float]:
    """Test all exits and solve thresholds.

    Args:
        checkpoint: What was trained.
        work: Folder for the results.
        options: Settings that replace the config's.

    Returns:
        The metrics.
    """
    metrics, thresholds = work / 'metrics.json', work / 'thresholds.json'
    budgets = ','.join(map(str, BUDGETS))
    log = run_tool(
        'tools/test.py',
        CONFIG,
        checkpoint,
        *('--work-dir', str(work), '--out', str(metrics)),
        *('--save-thresholds', str(thresholds), '--cfg-options'),
        *(f'test_cfg.budgets=[{budgets}]', 'test_cfg.relative_budgets=True'),
        *options,
    )
    for _ in log:  # the tables are printed from the metrics
        pass
    return json.loads(metrics.read_text())


def execute(checkpoint: str, work: Path, options: tuple[str, ...]) -> None:
    """Let pictures really leave early.

    Args:
        checkpoint: What was trained.
        work: Folder for the results.
        options: Settings that replace the config's.
    """
    arguments = ['--out', str(work / 'executed.json')]
    arguments += ['--gallery', str(work / 'exits.png')]
    if options:
        arguments += ['--cfg-options', *options]
    script = 'tools/analysis_tools/execute_budgets.py'
    thresholds = str(work / 'thresholds.json')
    lines = run_tool(script, CONFIG, checkpoint, thresholds, *arguments)
    # the toolboxes' remarks at their import come before the table
    show(itertools.dropwhile(lambda line: not line.startswith('Means'), lines))


def draw(work: Path) -> None:
    """Draw accuracy against cost.

    Args:
        work: Folder with the results.
    """
    show(
        run_tool(
            'tools/analysis_tools/plot_budget_curve.py',
            *('--run', 'small RANet', str(work / 'metrics.json')),
            *('--out', str(work / 'budget_curve.png')),
            *('--title', 'Fashion-MNIST: accuracy against cost'),
        )
    )


def main(argv: list[str] | None = None) -> None:
    """Run the demo.

    Args:
        argv: The arguments; None takes those of the process.
    """
    args = parse_args(argv)
    started = time.monotonic()
    work = Path(args.work_dir).absolute()
    checkpoint = args.checkpoint and os.path.abspath(args.checkpoint)
    os.chdir(ROOT)  # the commands that are printed are run from here
    if work.is_relative_to(ROOT):
        work = work.relative_to(ROOT)
    options = QUICK if args.quick else ()

    print('\n[1/5] Fashion-MNIST')
    data_root = Config.fromfile(CONFIG).data_root
    prepare = 'tools/dataset_converters/prepare_fashion_mnist.py'
    show(run_tool(prepare, '--out', data_root))

    print(
        '\n[2/5] Training a RANet with six exits. Of the 60 000 training pictures, '
        '55 000 train it;\n      5 000 are held out: thresholds are solved on them.'
    )
    checkpoint = checkpoint or train(work, options)
    print(f'  {checkpoint}: trained, {passed(started)} so far')

    print('\n[3/5] Testing: what each exit is worth, and what thresholds make of them')
    metrics = test(checkpoint, work, options)
    print(f'\nEverybody leaves at the same exit:\n\n{anytime_table(metrics)}')
    print(
        '\nPictures leave when the network is sure of them (simulated):\n\n'
        f'{budget_table(metrics)}'
    )

    print('\n[4/5] Executing: pictures really leave, the rest of their batch goes on')
    execute(checkpoint, work, options)

    print('\n[5/5] Drawing')
    draw(work)
    results = {
        'budget_curve.png': 'accuracy against cost',
        'exits.png': 'pictures that left first, beside those that needed the last exit',
        'thresholds.json': 'the thresholds of every budget',
        'metrics.json': 'all accuracies and costs',
        'executed.json': 'what execution measured',
    }
    print(f'\nIn {work}:')
    for name, what in results.items():
        print(f'  {name:<17} {what}')
    print(f'\nDone in {passed(started)}.')


def passed(started: float) -> str:
    """The time since ``started``, for people."""
    seconds = round(time.monotonic() - started)
    return f'{seconds // 60} min {seconds % 60} s'


if __name__ == '__main__':
    sys.exit(run_main(main))
