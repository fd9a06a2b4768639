"""Convert published AdaFocus checkpoints of either form, those of stage 0 included.

Strict: every tensor has to find its place in the config's model. Parts that a file does
not have (a stage-0 file has one encoder, a stage-1 file no policy) are named.

Example:
    python tools/model_converters/adafocus_to_dynnet.py globalcnn.pth.tar \
        localcnn.pth.tar --out stage0.pth --config configs/adafocus/CONFIG.py
"""

import argparse
import sys

import dynnet.models.recognizers  # noqa: F401  (mmaction2, before a config names it)
from dynnet.utils.adafocus_conversion import convert_adafocus
from dynnet.utils.cli import run_main


def main(argv: list[str] | None = None) -> None:
    """Run the tool.

    Args:
        argv: The arguments; None takes those of the process.
    """
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('sources', nargs='+', help='published checkpoint, or several')
    parser.add_argument('--out', required=True, help='converted checkpoint to write')
    parser.add_argument('--config', required=True, help='config of the same network')
    args = parser.parse_args(argv)
    state, missing = convert_adafocus(args.sources, args.out, args.config)
    print(f'{args.out}: {len(state)} tensors, none unused')
    if missing:
        print(f'not in the files: {", ".join(missing)}')


if __name__ == '__main__':
    sys.exit(run_main(main))
