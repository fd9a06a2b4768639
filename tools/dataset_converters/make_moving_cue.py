"""Make the moving-cue set: clips of which it is known where one has to look.

Writes, for every split, a folder of mp4 files, the list ``SPLIT.txt`` (``path label``)
and ``SPLIT_truth.npz``: ``paths`` (N,), ``centres`` (N, T, 2), the cue's centre (y, x)
in every frame in pixels, and ``cue_size``. The same seed makes the same clips.

Example:
    python tools/dataset_converters/make_moving_cue.py --out data/moving_cue
"""

import argparse
import io
import sys
from pathlib import Path

import cv2
import numpy as np

from dynnet.datasets.moving_cue import MovingCue
from dynnet.utils.atomic import write_atomic
from dynnet.utils.cli import run_main
from dynnet.utils.errors import DataError

SPLITS = ('train', 'val', 'test')


def write_video(path: Path, frames: np.ndarray, fps: float = 12) -> None:
    """Write frames (T, H, W, 3) uint8 RGB as an mp4 file.

    Raises:
        DataError: OpenCV cannot encode mp4 here, or the disk is full.
    """
    height, width = frames.shape[1:3]
    codec = cv2.VideoWriter_fourcc(*'mp4v')
    writer = cv2.VideoWriter(str(path), codec, fps, (width, height))
    if not writer.isOpened():
        raise DataError(f'{path} cannot be written: OpenCV has no mp4v encoder here')
    for frame in frames:
        writer.write(np.ascontiguousarray(frame[..., ::-1]))
    writer.release()
    if not path.is_file() or path.stat().st_size == 0:
        raise DataError(f'{path} was not written')


def make_split(out: Path, split: str, number: int, cue: MovingCue, seed: int) -> None:
    """Make one split; its list is written last, when the rest is there.

    Args:
        out: Folder of the set.
        split: Name of the split.
        number: Clips, the classes in turn.
        cue: How they look.
        seed: Seed of the set; every clip has a seed of its own.
    """
    folder = out / split
    folder.mkdir(parents=True, exist_ok=True)
    paths, centres, lines = [], [], []
    for index in range(number):
        label = index % cue.num_classes
        rng = np.random.default_rng((seed, SPLITS.index(split), index))
        frames, path_of_cue = cue.make_clip(label, rng)
        paths.append(f'{split}/{index:05d}.mp4')
        write_video(out / paths[-1], frames)
        centres.append(path_of_cue)
        lines.append(f'{paths[-1]} {label}\n')
    buffer = io.BytesIO()
    np.savez(
        buffer,
        paths=np.array(paths),
        centres=np.stack(centres),
        cue_size=np.array(cue.cue_size),
    )
    write_atomic(out / f'{split}_truth.npz', buffer.getvalue())
    write_atomic(out / f'{split}.txt', ''.join(lines).encode())


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line.

    Args:
        argv: The arguments; None takes those of the process.
    """
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--out', type=Path, default=Path('data/moving_cue'))
    parser.add_argument('--train', type=int, default=1024, help='training clips')
    parser.add_argument('--val', type=int, default=256, help='validation clips')
    parser.add_argument('--test', type=int, default=512, help='test clips')
    parser.add_argument('--classes', type=int, default=MovingCue.num_classes)
    parser.add_argument('--size', type=int, default=MovingCue.size)
    parser.add_argument('--frames', type=int, default=MovingCue.num_frames)
    parser.add_argument('--seed', type=int, default=0)
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    """Make the set.

    Args:
        argv: The arguments; None takes those of the process.
    """
    args = parse_args(argv)
    cue = MovingCue(size=args.size, num_frames=args.frames, num_classes=args.classes)
    for split in SPLITS:
        number = getattr(args, split)
        make_split(args.out, split, number, cue, args.seed)
        print(f'{number} {split} clips in {args.out}')


if __name__ == '__main__':
    sys.exit(run_main(main))
