"""Find rotated objects in pictures.

Example:
    python tools/rotated_demo.py configs/arc/CONFIG.py epoch_12.pth a.png b.png \
        --show-dir shown
"""

import argparse
import sys

import dynnet  # noqa: F401  (registers dynnet's types)
from dynnet.apis.rotated_inferencer import RotatedInferencer
from dynnet.utils.cli import run_main


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line.

    Args:
        argv: The arguments; None takes those of the process.
    """
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('config', help='config file')
    parser.add_argument('checkpoint', help='its checkpoint')
    parser.add_argument('pictures', nargs='+', help='picture files')
    parser.add_argument('--show-dir', help='draw the boxes into this folder')
    parser.add_argument('--score-thr', type=float, default=0.3)
    parser.add_argument('--device', help='cpu, cuda:0, ...; default: a GPU if there is')
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    """Detect.

    Args:
        argv: The arguments; None takes those of the process.
    """
    args = parse_args(argv)
    detect = RotatedInferencer(
        args.config, args.checkpoint, args.device, args.score_thr
    )
    found = detect(args.pictures, args.show_dir)
    for picture, boxes in zip(args.pictures, found):
        print(f'{picture}: {len(boxes.scores)} boxes')
        for corners, name, score in zip(boxes.corners, boxes.class_names, boxes.scores):
            places = ' '.join(f'{value:.1f}' for value in corners.flatten())
            print(f'  {name} {score:.3f} {places}')


if __name__ == '__main__':
    sys.exit(run_main(main))
