"""Show where a network with gates computes: pictures, or a video frame by frame.

For classifiers and detectors. Beside each picture: what each stage computed of it, and
how many blocks computed each pixel.

Example:
    python tools/analysis_tools/show_masks.py configs/lasnet/CONFIG.py las.pth \
        cat.jpg street.mp4 --out masks/ --short-edge 224
"""

import argparse
import sys
from pathlib import Path

import cv2
import numpy as np
from mmengine.config import DictAction
from torch import nn

import dynnet  # noqa: F401  (registers dynnet's types and its configs)
from dynnet.apis import init_model
from dynnet.apis.inference import read_config
from dynnet.utils.cli import run_main
from dynnet.utils.errors import ConfigError, DataError
from dynnet.visualization.mask_overlay import draw_masks, picture_masks

VIDEOS = ('.mp4', '.avi', '.mov', '.mkv', '.webm')


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line.

    Args:
        argv: The arguments; None takes those of the process.
    """
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('config', help='config of a classifier or detector with gates')
    parser.add_argument('checkpoint', help='its checkpoint')
    parser.add_argument('inputs', nargs='+', help='pictures or videos')
    parser.add_argument('--out', required=True, help='folder for the results')
    parser.add_argument(
        '--short-edge',
        type=int,
        help='resize so that the shorter edge has this length; default: as it is',
    )
    parser.add_argument('--max-frames', type=int, help='of each video')
    parser.add_argument('--device', help='default: the GPU, if there is one')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        metavar='KEY=VALUE',
        help='settings that replace those of the config',
    )
    return parser.parse_args(argv)


def prepare(picture: np.ndarray, short_edge: int | None, grey: bool) -> np.ndarray:
    """Resize a BGR picture and make it grey for a network that takes one channel."""
    if short_edge:
        scale = short_edge / min(picture.shape[:2])
        size = [max(1, round(scale * n)) for n in picture.shape[1::-1]]
        picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    return cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY) if grey else picture


def show_picture(model: nn.Module, path: Path, out: Path, *settings) -> None:
    """Write one picture's masks.

    Raises:
        DataError: The file is no picture.
    """
    picture = cv2.imread(str(path))
    if picture is None:
        raise DataError(f'{path}: not a picture that OpenCV reads')
    picture = prepare(picture, *settings)
    cv2.imwrite(str(out), draw_masks(picture, picture_masks(model, picture)))


def show_video(
    model: nn.Module, path: Path, out: Path, max_frames: int | None, *settings
) -> int:
    """Write a video of each frame's masks.

    Returns:
        Number of frames.

    Raises:
        DataError: The file is no video.
    """
    reader = cv2.VideoCapture(str(path))
    fps = reader.get(cv2.CAP_PROP_FPS) or 25
    writer, count = None, 0
    while max_frames is None or count < max_frames:
        good, frame = reader.read()
        if not good:
            break
        frame = prepare(frame, *settings)
        drawn = draw_masks(frame, picture_masks(model, frame))
        if writer is None:
            size = drawn.shape[1::-1]
            writer = cv2.VideoWriter(
                str(out), cv2.VideoWriter_fourcc(*'mp4v'), fps, size
            )
        writer.write(drawn)
        count += 1
    reader.release()
    if writer is None:
        raise DataError(f'{path}: not a video that OpenCV reads')
    writer.release()
    return count


def main(argv: list[str] | None = None) -> None:
    """Run the tool.

    Args:
        argv: The arguments; None takes those of the process.
    """
    args = parse_args(argv)
    cfg = read_config(args.config)
    cfg.merge_from_dict(args.cfg_options or {})
    if cfg.get('model') and cfg.model.get('backbone', {}).get('init_cfg'):
        cfg.model.backbone.init_cfg = None  # the checkpoint has all weights
    model = init_model(cfg, args.checkpoint, args.device)
    if not hasattr(model, 'backbone'):
        raise ConfigError(f'{args.config}: {type(model).__name__} has no backbone')
    settings = (args.short_edge, cfg.model.backbone.get('in_channels', 3) == 1)
    out = Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    for path in map(Path, args.inputs):
        if not path.is_file():
            raise DataError(f'{path} does not exist')
        if path.suffix.lower() in VIDEOS:
            target = out / f'{path.stem}_masks.mp4'
            frames = show_video(model, path, target, args.max_frames, *settings)
            print(f'{target}: {frames} frames')
        else:
            target = out / f'{path.stem}_masks.png'
            show_picture(model, path, target, *settings)
            print(target)


if __name__ == '__main__':
    sys.exit(run_main(main))
