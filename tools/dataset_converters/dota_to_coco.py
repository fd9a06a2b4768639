"""Write one COCO file of horizontal boxes from DOTA's annotation files.

Each file of ``annotations`` belongs to the picture of the same name in ``images``. A
box is the smallest upright rectangle around the four corners, cut at the picture's
edges. Boxes outside the picture or without area are left out and counted; pictures
without boxes stay in. The pictures themselves stay where they are.

Example:
    python tools/dataset_converters/dota_to_coco.py data/ssdd_tiny/train \
        data/ssdd_tiny/images --classes ship --out data/ssdd_tiny/train.json
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from dynnet.datasets.rotated.base import picture_size
from dynnet.datasets.rotated.boxes import RotatedBox, Skipped
from dynnet.datasets.rotated.dota_format import parse_dota_file
from dynnet.utils.atomic import write_atomic
from dynnet.utils.cli import run_main
from dynnet.utils.errors import ConfigError, DataError

SUFFIXES = ('.png', '.jpg', '.jpeg', '.bmp', '.tif', '.tiff')


def upright_box(
    box: RotatedBox, width: int, height: int
) -> tuple[float, float, float, float] | None:
    """Return the rectangle x, y, w, h around a box inside the picture, or None.

    Args:
        box: Its corners in pixels.
        width: The picture's.
        height: The picture's.
    """
    xs = [min(max(x, 0.0), float(width)) for x in box.corners[0::2]]
    ys = [min(max(y, 0.0), float(height)) for y in box.corners[1::2]]
    x, y = min(xs), min(ys)
    w, h = max(xs) - x, max(ys) - y
    return (x, y, w, h) if w > 0 and h > 0 else None


def find_picture(images: Path, stem: str) -> Path:
    """Return the picture of an annotation file.

    Raises:
        DataError: There is none.
    """
    for suffix in SUFFIXES:
        path = images / f'{stem}{suffix}'
        if path.is_file():
            return path
    raise DataError(f'{images} has no picture {stem}{{{",".join(SUFFIXES)}}}')


def convert(
    annotations: Path, images: Path, classes: Sequence[str]
) -> tuple[dict, Skipped]:
    """Read a folder of annotation files.

    Args:
        annotations: Folder of ``*.txt``.
        images: Folder of the pictures.
        classes: Names in the order of their labels; their ids begin at 1.

    Returns:
        The content of a COCO file, and what was left out. A difficulty above 0 is kept
        as ``difficulty``; nothing is a crowd.

    Raises:
        ConfigError: A class is named twice.
        DataError: No files, a line that is no box, an unknown class, or a missing or
            damaged picture; names the file and the line.
    """
    ids = {name: index for index, name in enumerate(classes, 1)}
    if len(ids) != len(classes):
        raise ConfigError(f'--classes {" ".join(classes)}: a name occurs twice')
    files = sorted(annotations.glob('*.txt'))
    if not files:
        raise DataError(f'{annotations} is no folder with annotation files (*.txt)')
    pictures, objects, skipped = [], [], Skipped()
    for number, file in enumerate(files, 1):
        path = find_picture(images, file.stem)
        width, height = picture_size(str(path))
        pictures.append(
            dict(id=number, file_name=path.name, width=width, height=height)
        )
        for box in parse_dota_file(file):
            if box.class_name not in ids:
                raise DataError(
                    f'{box.where}: the class {box.class_name!r} is not in --classes '
                    f'({", ".join(classes)})'
                )
            rectangle = upright_box(box, width, height)
            if rectangle is None:
                skipped.add('boxes without area in the picture', box.where)
                continue
            objects.append(
                dict(
                    id=len(objects) + 1,
                    image_id=number,
                    category_id=ids[box.class_name],
                    bbox=list(rectangle),
                    area=rectangle[2] * rectangle[3],
                    iscrowd=0,
                    difficulty=box.difficulty,
                )
            )
    categories = [dict(id=index, name=name) for name, index in ids.items()]
    coco = dict(images=pictures, annotations=objects, categories=categories)
    return coco, skipped


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line.

    Args:
        argv: The arguments; None takes those of the process.
    """
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('annotations', type=Path, help='folder of annotation files')
    parser.add_argument('images', type=Path, help='folder of the pictures')
    parser.add_argument('--classes', nargs='+', required=True)
    parser.add_argument('--out', type=Path, required=True, help='the COCO file')
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    """Write the file.

    Args:
        argv: The arguments; None takes those of the process.
    """
    args = parse_args(argv)
    coco, skipped = convert(args.annotations, args.images, args.classes)
    write_atomic(args.out, json.dumps(coco).encode())
    print(
        f'{args.out}: {len(coco["images"])} pictures, {len(coco["annotations"])} boxes'
    )
    if skipped.counts:
        print(f'left out {skipped.summary()}')


if __name__ == '__main__':
    sys.exit(run_main(main))
