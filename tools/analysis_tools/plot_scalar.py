"""Draw anything that training logged: a loss, a reward, a validation's accuracy.

Reads mmengine's ``scalars.json``, or finds it in a work folder. Several runs after one
name are its seeds.

Example:
    python tools/analysis_tools/plot_scalar.py reward --out reward.png \
        --run cue work_dirs/cue-seed0 work_dirs/cue-seed1 --run fight work_dirs/fight
"""

import argparse
import sys

from dynnet.utils.cli import run_main
from dynnet.utils.errors import DataError
from dynnet.visualization import plot_scalar, read_scalar


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line.

    Args:
        argv: The arguments; None takes those of the process.
    """
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('scalar', help='its name in the log, such as reward')
    parser.add_argument(
        '--run',
        nargs='+',
        action='append',
        required=True,
        metavar=('NAME', 'LOG'),
        help='name of a curve, and logs or work folders; may be repeated',
    )
    parser.add_argument('--by', choices=('epoch', 'iter'), default='epoch')
    parser.add_argument('--out', required=True, help='picture to write')
    parser.add_argument('--title', help='title of the picture')
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    """Draw.

    Args:
        argv: The arguments; None takes those of the process.
    """
    args = parse_args(argv)
    runs: dict[str, list] = {}
    for name, *paths in args.run:
        if not paths:
            raise DataError(f'--run {name}: no log after the name')
        curves = [read_scalar(path, args.scalar, args.by) for path in paths]
        runs.setdefault(name, []).extend(curves)
    plot_scalar(runs, args.out, args.scalar, args.by, args.title)
    for name, curves in runs.items():
        for x, y in curves:
            print(f'{name}: {y[0]:.6g} ({args.by} {x[0]}) to {y[-1]:.6g} ({x[-1]})')


if __name__ == '__main__':
    sys.exit(run_main(main))
