"""Draw the angles and gates that a picture gets in every layer of an ARC network.

Example:
    python tools/analysis_tools/draw_rotations.py CONFIG CHECKPOINT ship.png \
        --out rotations.png --turn 0 45 90
"""

import argparse
import sys

import mmcv
import torch

import dynnet  # noqa: F401  (registers dynnet's types)
from dynnet.apis.inference import init_model
from dynnet.utils.cli import run_main
from dynnet.utils.errors import DataError
from dynnet.visualization.rotation_figure import draw_decisions, record_decisions


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line.

    Args:
        argv: The arguments; None takes those of the process.
    """
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('config', help='config file')
    parser.add_argument('checkpoint', help='its checkpoint')
    parser.add_argument('picture', help='picture file')
    parser.add_argument('--out', required=True, help='picture to write')
    parser.add_argument(
        '--turn',
        type=float,
        nargs='+',
        default=[0.0],
        help='degrees by which the picture is turned, clockwise',
    )
    parser.add_argument('--size', type=int, default=512, help='side of the input')
    return parser.parse_args(argv)


def prepare(model: torch.nn.Module, image, degrees: float, size: int) -> torch.Tensor:
    """Turn, resize and normalise a picture (H, W, 3) to (1, 3, size, size)."""
    turned = mmcv.imrotate(image, degrees, border_value=0) if degrees else image
    x = torch.from_numpy(mmcv.imresize(turned, (size, size))).permute(2, 0, 1)[None]
    data = model.data_preprocessor
    x = x.float().to(next(model.parameters()).device)
    if getattr(data, '_channel_conversion', False) or getattr(data, 'to_rgb', False):
        x = x.flip(1)
    mean, std = getattr(data, 'mean', None), getattr(data, 'std', None)
    return x if mean is None else (x - mean.view(-1, 1, 1)) / std.view(-1, 1, 1)


def main(argv: list[str] | None = None) -> None:
    """Draw.

    Args:
        argv: The arguments; None takes those of the process.
    """
    args = parse_args(argv)
    try:
        image = mmcv.imread(args.picture)
    except (OSError, AttributeError):
        image = None
    if image is None:
        raise DataError(f'picture {args.picture} is missing or no picture')
    model = init_model(args.config, args.checkpoint)
    turned = {
        degrees: record_decisions(
            model.backbone, prepare(model, image, degrees, args.size)
        )
        for degrees in args.turn
    }
    draw_decisions(turned, args.out)
    print(f'{args.out}: {len(turned[args.turn[0]].layers)} layers')


if __name__ == '__main__':
    sys.exit(run_main(main))
