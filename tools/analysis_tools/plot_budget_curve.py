"""Draw accuracy against cost from the metrics of one or several tests.

The metrics are those that tools/test.py writes; several files after one name are the
seeds of one network.

Example:
    python tools/test.py CONFIG CHECKPOINT --out metrics.json
    python tools/analysis_tools/plot_budget_curve.py --out curve.png \
        --run RANet ranet-seed0.json ranet-seed1.json --run MSDNet msdnet.json
"""

import argparse
import json
import sys

from dynnet.utils.cli import run_main
from dynnet.utils.errors import DataError
from dynnet.visualization import EarlyExitRun, plot_budget_curve


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line.

    Args:
        argv: The arguments; None takes those of the process.
    """
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        '--run',
        nargs='+',
        action='append',
        required=True,
        metavar=('NAME', 'METRICS.json'),
        help='name of a network and the metrics of its runs; may be repeated',
    )
    parser.add_argument('--out', required=True, help='picture to write')
    parser.add_argument('--title', help='title of the picture')
    parser.add_argument(
        '--unit', default='macs', help='unit of the costs in the metrics: macs'
    )
    return parser.parse_args(argv)


def read_run(path: str, unit: str) -> EarlyExitRun:
    """Read one metrics file.

    Args:
        path: The file.
        unit: Unit of the costs.

    Returns:
        The run.

    Raises:
        DataError: The file is missing, no JSON, or holds other metrics; it is named.
    """
    try:
        with open(path, encoding='utf-8') as file:
            metrics = json.load(file)
        if not isinstance(metrics, dict):
            raise ValueError('it holds no metrics')
        return EarlyExitRun.from_metrics(metrics, unit)
    except (OSError, ValueError) as error:
        raise DataError(f'{path}: {error}') from error


def main(argv: list[str] | None = None) -> None:
    """Draw.

    Args:
        argv: The arguments; None takes those of the process.
    """
    args = parse_args(argv)
    runs: dict[str, list[EarlyExitRun]] = {}
    for name, *paths in args.run:
        if not paths:
            raise DataError(f'--run {name}: no metrics file after the name')
        runs.setdefault(name, []).extend(read_run(p, args.unit) for p in paths)
    plot_budget_curve(runs, args.out, args.title)
    print(f'{args.out} drawn from {sum(map(len, runs.values()))} tests')


if __name__ == '__main__':
    sys.exit(run_main(main))
