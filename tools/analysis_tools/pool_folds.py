"""Pool the held-out predictions of a cross-validation, with Wilson intervals.

Reads the metrics that tools/test.py writes for each fold.

Example:
    python tools/analysis_tools/pool_folds.py \
        --run learned fold0/test.json fold1/test.json fold2/test.json \
        --run random fold0/random.json fold1/random.json fold2/random.json
"""

import argparse
import json
import sys
from pathlib import Path

from dynnet.evaluation.functional import format_table, wilson_interval
from dynnet.utils.cli import run_main
from dynnet.utils.errors import DataError


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
        help='a name, and the metrics of its folds; may be repeated',
    )
    parser.add_argument('--accuracy', default='video/top1', help='its key, in percent')
    parser.add_argument('--clips', default='video/num_clips', help="their number's key")
    parser.add_argument('--out', metavar='FILE', help='write the table to this .json')
    return parser.parse_args(argv)


def count_hits(path: str, accuracy: str, clips: str) -> tuple[int, int]:
    """Turn one fold's accuracy back into counts.

    Returns:
        Right ones, and all.

    Raises:
        DataError: The file is missing, no JSON, lacks a key, or its accuracy is not
            that of so many clips; it is named.
    """
    try:
        metrics = json.loads(Path(path).read_text(encoding='utf-8'))
    except (OSError, ValueError) as error:
        raise DataError(f'{path}: {error}') from error
    try:
        percent, total = float(metrics[accuracy]), int(metrics[clips])
    except (KeyError, TypeError) as error:
        raise DataError(f'{path}: no {accuracy} and {clips}') from error
    hits = percent / 100 * total
    if total < 1 or abs(hits - round(hits)) > 1e-3:
        raise DataError(f'{path}: {percent} % of {total} clips is no whole number')
    return round(hits), total


def main(argv: list[str] | None = None) -> list[dict]:
    """Pool.

    Args:
        argv: The arguments; None takes those of the process.

    Returns:
        A row for every name.
    """
    args = parse_args(argv)
    rows = []
    for name, *paths in args.run:
        if not paths:
            raise DataError(f'--run {name}: no metrics file after the name')
        counts = [count_hits(path, args.accuracy, args.clips) for path in paths]
        hits, total = (sum(column) for column in zip(*counts))
        rows.append(
            dict(
                name=name,
                folds=[hit for hit, _ in counts],
                hits=hits,
                total=total,
                interval=list(wilson_interval(hits, total)),
            )
        )
    header = ['', 'right by fold', 'right', 'of', '%', '95 %']
    cells = [
        [
            row['name'],
            ', '.join(map(str, row['folds'])),
            str(row['hits']),
            str(row['total']),
            f'{100 * row["hits"] / row["total"]:.1f}',
            '{:.1f} to {:.1f}'.format(*(100 * bound for bound in row['interval'])),
        ]
        for row in rows
    ]
    print(format_table(header, cells))
    if args.out:
        Path(args.out).write_text(json.dumps(rows, indent=2) + '\n')
    return rows


if __name__ == '__main__':
    sys.exit(run_main(main))
