"""Classify pictures with an early-exit network: easy ones leave early.

Example:
    python tools/image_demo.py configs/ranet/CONFIG.py epoch_300.pth cat.png dog.png \
        --thresholds thresholds.json --budget 20e6
"""

import argparse
import json
import sys

from dynnet.apis import EarlyExitInferencer
from dynnet.apis.command_line import (
    add_model_arguments,
    format_results,
    parse_thresholds,
    read_model_config,
)
from dynnet.utils.atomic import write_atomic
from dynnet.utils.cli import run_main


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line.

    Args:
        argv: The arguments; None takes those of the process.
    """
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_model_arguments(parser)
    parser.add_argument('pictures', nargs='+', help='picture files')
    parser.add_argument(
        '--mode',
        default='execute',
        help='execute (leave early), simulate (run all exits) or exit=k',
    )
    parser.add_argument('--batch-size', type=int, default=1)
    parser.add_argument('--device', help='cpu, cuda:0, ...; default: a GPU if there is')
    parser.add_argument('--out', metavar='FILE', help='write the results to this .json')
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    """Predict.

    Args:
        argv: The arguments; None takes those of the process.
    """
    args = parse_args(argv)
    cfg = read_model_config(args)
    inferencer = EarlyExitInferencer(
        cfg,
        args.checkpoint,
        parse_thresholds(args.thresholds),
        args.budget,
        args.mode,
        args.device,
        args.size,
    )
    results = inferencer(args.pictures, args.batch_size)
    print(format_results(args.pictures, results))
    if args.out:
        named = [dict(picture=p, **r) for p, r in zip(args.pictures, results)]
        write_atomic(args.out, (json.dumps(named, indent=2) + '\n').encode())


if __name__ == '__main__':
    sys.exit(run_main(main))
