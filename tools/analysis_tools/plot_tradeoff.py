"""Draw quality against MACs of trained networks, with gates and without.

The metrics are those that tools/test.py writes; several files after one name are the
seeds of one network. A network with gates says itself what it cost.

Example:
    python tools/test.py CONFIG CHECKPOINT --out las.json
    python tools/analysis_tools/plot_tradeoff.py --out tradeoff.png \
        --gated t=0.5 las-seed0.json las-seed1.json --dense narrow 7816160 narrow.json
"""

import argparse
import json
import sys

from dynnet.utils.cli import run_main
from dynnet.utils.errors import DataError
from dynnet.visualization.tradeoff import plot_tradeoff


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line.

    Args:
        argv: The arguments; None takes those of the process.
    """
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        '--gated',
        nargs='+',
        action='append',
        default=[],
        metavar=('NAME', 'METRICS.json'),
        help='name of a network with gates and the metrics of its runs; repeatable',
    )
    parser.add_argument(
        '--dense',
        nargs='+',
        action='append',
        default=[],
        metavar=('NAME', 'MACS'),
        help='name of another network, its MACs, the metrics of its runs; repeatable',
    )
    parser.add_argument('--metric', default='accuracy/top1', help='what to draw')
    parser.add_argument('--ylabel', default='top-1 accuracy (%)')
    parser.add_argument('--out', required=True, help='picture to write')
    parser.add_argument('--title', help='title of the picture')
    return parser.parse_args(argv)


def read_point(path: str, metric: str, macs: float | None) -> tuple[float, float]:
    """Read one test's cost and quality.

    Args:
        path: Metrics file.
        metric: Name of the quality.
        macs: The cost; None: what the gates' metric says.

    Returns:
        MACs per picture, and the quality.

    Raises:
        DataError: The file is missing, no JSON, or lacks a metric; it is named.
    """
    try:
        with open(path, encoding='utf-8') as file:
            metrics = json.load(file)
        if macs is None:
            macs = float(metrics['gates/mean_macs'])
        return macs, float(metrics[metric])
    except (OSError, ValueError, TypeError) as error:
        raise DataError(f'{path}: {error}') from error
    except KeyError as error:
        raise DataError(f'{path} has no metric {error}') from None


def main(argv: list[str] | None = None) -> None:
    """Draw.

    Args:
        argv: The arguments; None takes those of the process.
    """
    args = parse_args(argv)
    groups: dict[str, dict] = {'with gates': {}, 'without gates': {}}
    for name, *paths in args.gated:
        points = [read_point(path, args.metric, None) for path in paths]
        groups['with gates'].setdefault(name, []).extend(points)
    for name, *rest in args.dense:
        try:
            macs = float(rest[0])
        except (IndexError, ValueError):
            raise DataError(f'--dense {name}: its MACs follow the name') from None
        points = [read_point(path, args.metric, macs) for path in rest[1:]]
        groups['without gates'].setdefault(name, []).extend(points)
    groups = {kind: networks for kind, networks in groups.items() if networks}
    for networks in groups.values():
        for name, points in networks.items():
            if not points:
                raise DataError(f'{name}: no metrics file after the name')
    if not groups:
        raise DataError('nothing to draw: give --gated or --dense')
    plot_tradeoff(groups, args.out, args.ylabel, args.title)
    drawn = sum(len(points) for group in groups.values() for points in group.values())
    print(f'{args.out} drawn from {drawn} tests')


if __name__ == '__main__':
    sys.exit(run_main(main))
