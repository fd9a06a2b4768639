"""Embed exit thresholds into a copy of a checkpoint.

``LoadExitThresholdsHook`` gives them to the model when the copy is loaded.

Example:
    python tools/model_converters/embed_thresholds.py epoch_300.pth thresholds.json \
        epoch_300_thresholds.pth
"""

import argparse
import os
import re
import sys
from pathlib import Path

from dynnet.models.exits import ExitThresholds
from dynnet.utils.checkpoint import load_checkpoint, save_checkpoint
from dynnet.utils.cli import run_main
from dynnet.utils.errors import CheckpointError


def embed(
    checkpoint: str | os.PathLike, thresholds: str | os.PathLike, out: str | os.PathLike
) -> None:
    """Write a copy of a checkpoint with ``meta['exit_thresholds']``.

    Args:
        checkpoint: Checkpoint of an early-exit model.
        thresholds: JSON file that ``tools/test.py --save-thresholds`` wrote.
        out: The copy; must not be the checkpoint itself.

    Raises:
        CheckpointError: The checkpoint cannot be used, has another number of exits
            than the thresholds, or is the same file as ``out``.
        ValueError: The thresholds file is wrong.
    """
    if Path(out).resolve() == Path(checkpoint).resolve():
        raise CheckpointError(f'{out} is the checkpoint itself: name another file')
    solved = ExitThresholds.load(thresholds)
    content = load_checkpoint(checkpoint)
    exits = {
        int(match[1])
        for name in content['state_dict']
        if (match := re.match(r'(?:module\.)?head\.exits\.(\d+)\.', name))
    }
    if len(exits) != solved.num_exits:
        raise CheckpointError(
            f'{checkpoint} has {len(exits)} exits (head.exits.*), {thresholds} has '
            f'thresholds for {solved.num_exits}'
        )
    content['meta'] = dict(content.get('meta') or {}, exit_thresholds=solved.to_dict())
    save_checkpoint(out, content)


def main(argv: list[str] | None = None) -> None:
    """Run the tool.

    Args:
        argv: The arguments; None takes those of the process.
    """
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('checkpoint', help='checkpoint of an early-exit model')
    parser.add_argument('thresholds', help='.json of tools/test.py --save-thresholds')
    parser.add_argument('out', help='the copy to write')
    args = parser.parse_args(argv)
    embed(args.checkpoint, args.thresholds, args.out)
    print(f'{args.out} now carries the thresholds of {args.thresholds}')


if __name__ == '__main__':
    sys.exit(run_main(main))
