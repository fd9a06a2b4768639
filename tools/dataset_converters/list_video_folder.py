"""Write lists for a folder of class folders of videos: one split, or folds.

The videos are sorted by their paths below the folder; video i belongs to fold i % K.
``fold0_train.txt`` and ``fold0_val.txt`` are the split whose validation part is fold 0,
and so on; ``classes.txt`` names the classes in the order of their labels. The videos
themselves stay as they are: they are decoded straight from their files.

Example:
    python tools/dataset_converters/list_video_folder.py data/my_videos --folds 3
"""

import argparse
import sys
from collections import Counter
from pathlib import Path

from dynnet.utils.atomic import write_atomic
from dynnet.utils.cli import run_main
from dynnet.utils.errors import ConfigError, DataError

EXTENSIONS = ('.mp4', '.avi', '.mov', '.mkv', '.webm')


def find_videos(root: Path) -> tuple[list[str], list[str]]:
    """Find the classes and the videos below a folder.

    Args:
        root: With one folder per class.

    Returns:
        Class names, sorted, and paths relative to ``root``, sorted.

    Raises:
        DataError: The folder, or a class's videos, are missing.
    """
    if not root.is_dir():
        raise DataError(f'video folder {root} does not exist')
    classes = sorted(path.name for path in root.iterdir() if path.is_dir())
    if len(classes) < 2:
        raise DataError(f'{root} must hold a folder for each of two classes or more')
    videos = sorted(
        path.relative_to(root).as_posix()
        for name in classes
        for path in (root / name).rglob('*')
        if path.suffix.lower() in EXTENSIONS
    )
    counts = Counter(video.split('/')[0] for video in videos)
    empty = [name for name in classes if not counts[name]]
    if empty:
        raise DataError(
            f'class folder {root / empty[0]} has no video ({", ".join(EXTENSIONS)})'
        )
    return classes, videos


def write_folds(root: Path, out: Path, folds: int) -> list[Path]:
    """Write the lists of all folds.

    Args:
        root: Folder of the videos.
        out: Folder for the lists.
        folds: K.

    Returns:
        The files.

    Raises:
        ConfigError: Fewer than two folds, or more than videos.
        DataError: See :func:`find_videos`.
    """
    classes, videos = find_videos(root)
    if not 2 <= folds <= len(videos):
        raise ConfigError(f'--folds {folds}: from 2 to the {len(videos)} videos')
    label = {name: index for index, name in enumerate(classes)}
    lines = [f'{video} {label[video.split("/")[0]]}\n' for video in videos]
    files = {'classes.txt': [f'{name}\n' for name in classes]}
    for fold in range(folds):
        files[f'fold{fold}_val.txt'] = lines[fold::folds]
        files[f'fold{fold}_train.txt'] = [
            line for index, line in enumerate(lines) if index % folds != fold
        ]
    for name, content in files.items():
        write_atomic(out / name, ''.join(content).encode())
    return [out / name for name in files]


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line.

    Args:
        argv: The arguments; None takes those of the process.
    """
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('root', type=Path, help='folder with a folder for each class')
    parser.add_argument('--out', type=Path, help='folder for the lists; default: root')
    parser.add_argument('--folds', type=int, default=3)
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    """Write the lists.

    Args:
        argv: The arguments; None takes those of the process.
    """
    args = parse_args(argv)
    for path in write_folds(args.root, args.out or args.root, args.folds):
        print(f'{path}: {len(path.read_text().splitlines())} lines')


if __name__ == '__main__':
    sys.exit(run_main(main))
