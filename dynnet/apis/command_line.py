"""What the command lines that predict share."""

import argparse
from collections.abc import Sequence

import numpy as np
from mmengine.config import Config, DictAction

from dynnet.utils.errors import ConfigError

from .inference import read_config


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what says which model, its thresholds and the size of its pictures.

    Args:
        parser: Gets ``config``, ``checkpoint`` and the options.
    """
    parser.add_argument('config', help='config file')
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument(
        '--thresholds',
        nargs='+',
        metavar='T',
        help='numbers, one per exit but the last, or a JSON file; default: those of '
        'the config, else of the checkpoint',
    )
    parser.add_argument(
        '--budget', type=float, help='mean cost per picture, picks the thresholds'
    )
    parser.add_argument(
        '--size',
        nargs=2,
        type=int,
        metavar=('H', 'W'),
        help='resize the pictures to this first; for nets of small pictures, whose '
        'test pipeline does not',
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        metavar='KEY=VALUE',
        help='settings that replace those of the config',
    )


def read_model_config(args: argparse.Namespace) -> Config:
    """Read the config and merge ``--cfg-options`` into it.

    Args:
        args: With what :func:`add_model_arguments` offers.

    Returns:
        The config.
    """
    cfg = read_config(args.config)
    cfg.merge_from_dict(args.cfg_options or {})
    return cfg


def parse_thresholds(values: list[str] | None) -> list[float] | str | None:
    """Tell numbers from the path of a JSON file.

    Args:
        values: What stood on the command line.

    Returns:
        Numbers, the path, or None.
    """
    if values is None:
        return None
    try:
        return [float(value) for value in values]
    except ValueError:
        if len(values) == 1:
            return values[0]
        raise ConfigError(
            f'--thresholds {" ".join(values)}: give one JSON file, or numbers'
        ) from None


def format_results(names: Sequence[str], results: Sequence[dict]) -> str:
    """Lay predictions out as a table, with the means below.

    Args:
        names: Name of each picture.
        results: What :class:`EarlyExitInferencer` returned.
    """
    rows = [('picture', 'class', 'score', 'exit', 'MMACs', 'ms')]
    for name, r in zip(names, results):
        rows.append((name, str(r['class_name'] or r['label']), f'{r["score"]:.3f}'))
        rows[-1] += (str(r['exit']), f'{r["macs"] / 1e6:.3f}', f'{r["ms"]:.2f}')
    if len(results) > 1:
        means = [np.mean([r[key] for r in results]) for key in ('exit', 'macs', 'ms')]
        mean = (f'{means[0]:.2f}', f'{means[1] / 1e6:.3f}', f'{means[2]:.2f}')
        rows.append(('mean', '', '', *mean))
    widths = [max(map(len, column)) for column in zip(*rows)]
    return '\n'.join(
        '  '.join(
            cell.ljust(width) if i < 2 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths))
        ).rstrip()
        for row in rows
    )
