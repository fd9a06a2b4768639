"""Make rotated scenes with known boxes, in the layout of DOTA or HRSC2016.

Example:
    python tools/dataset_converters/make_rotated_scenes.py --out data/made \
        --pictures 20 --size 1500
"""

import argparse
import math
import sys
from pathlib import Path

import cv2
import numpy as np

from dynnet.datasets.rotated.boxes import RotatedBox
from dynnet.datasets.rotated.dota_format import format_dota_line
from dynnet.datasets.rotated.hrsc_format import corners_of
from dynnet.utils.cli import run_main

# Long side, short side (pixels) and grey value of what the classes look like.
SHAPES = {
    'plane': (36, 36, 230),
    'ship': (44, 14, 200),
    'large-vehicle': (30, 12, 160),
    'harbor': (90, 24, 120),
}
HRSC_XML = """<HRSC_Image>
  <Img_FileName>{name}</Img_FileName>
  <Img_SizeWidth>{width}</Img_SizeWidth>
  <Img_SizeHeight>{height}</Img_SizeHeight>
  <HRSC_Objects>{objects}
  </HRSC_Objects>
</HRSC_Image>
"""
HRSC_OBJECT = """
    <HRSC_Object>
      <Class_ID>100000001</Class_ID>
      <difficult>0</difficult>
      <mbox_cx>{cx}</mbox_cx>
      <mbox_cy>{cy}</mbox_cy>
      <mbox_w>{w}</mbox_w>
      <mbox_h>{h}</mbox_h>
      <mbox_ang>{angle}</mbox_ang>
      <header_x>{x}</header_x>
      <header_y>{y}</header_y>
    </HRSC_Object>"""

# One object: centre, sides, angle (radians), class.
Item = tuple[float, float, float, float, float, str]


def make_scene(
    rng: np.random.Generator, size: int, objects: int, classes: list[str]
) -> tuple[np.ndarray, list[Item]]:
    """Paint one scene of filled boxes that do not touch.

    Args:
        rng: Decides everything.
        size: Side of the picture in pixels.
        objects: How many boxes are tried; fewer fit a small picture.
        classes: Names out of :data:`SHAPES`.

    Returns:
        Picture (size, size, 3) uint8 and its objects.
    """
    picture = rng.integers(20, 60, (size, size, 3), dtype=np.uint8)
    items: list[Item] = []
    for _ in range(objects):
        name = classes[rng.integers(len(classes))]
        long, short, grey = SHAPES[name]
        scale = rng.uniform(0.8, 1.4)
        w, h = round(long * scale, 1), round(short * scale, 1)
        reach = math.hypot(w, h) / 2 + 2
        if 2 * reach >= size:
            continue
        cx, cy = (round(v, 1) for v in rng.uniform(reach, size - reach, 2))
        near = (
            math.dist((cx, cy), other[:2]) < reach + math.hypot(*other[2:4]) / 2 + 2
            for other in items
        )
        if any(near):
            continue
        angle = round(float(rng.uniform(-math.pi / 2, math.pi / 2)), 4)
        corners = np.array(corners_of(cx, cy, w, h, angle)).reshape(4, 2)
        colour = [int(grey + rng.integers(-15, 15))] * 3
        cv2.fillPoly(picture, [corners.round().astype(np.int32)], colour)
        items.append((cx, cy, w, h, angle, name))
    return picture, items


def write_dota(
    root: Path, split: str, name: str, picture: np.ndarray, items: list[Item]
) -> None:
    """Write ``split/images/NAME.png`` and ``split/labelTxt/NAME.txt``."""
    for folder in ('images', 'labelTxt'):
        (root / split / folder).mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(root / split / 'images' / f'{name}.png'), picture)
    lines = ['imagesource:made', 'gsd:1.0']
    for *box, class_name in items:
        lines.append(format_dota_line(RotatedBox(corners_of(*box), class_name)))
    path = root / split / 'labelTxt' / f'{name}.txt'
    path.write_text('\n'.join(lines) + '\n')


def write_hrsc(
    root: Path, split: str, name: str, picture: np.ndarray, items: list[Item]
) -> None:
    """Write the picture, its XML file and its line in ``ImageSets/SPLIT.txt``."""
    data = root / 'FullDataSet'
    for folder in (root / 'ImageSets', data / 'AllImages', data / 'Annotations'):
        folder.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(data / 'AllImages' / f'{name}.bmp'), picture)
    objects = ''
    for cx, cy, w, h, angle, _ in items:
        x = round(cx + w / 2 * math.cos(angle))
        y = round(cy + w / 2 * math.sin(angle))
        objects += HRSC_OBJECT.format(cx=cx, cy=cy, w=w, h=h, angle=angle, x=x, y=y)
    height, width = picture.shape[:2]
    xml = HRSC_XML.format(name=name, width=width, height=height, objects=objects)
    (data / 'Annotations' / f'{name}.xml').write_text(xml)
    with open(root / 'ImageSets' / f'{split}.txt', 'a') as file:
        file.write(f'{name}\n')


def make_set(
    root: str | Path,
    layout: str,
    splits: dict[str, int],
    size: int,
    objects: int = 12,
    seed: int = 0,
) -> None:
    """Make a whole set; the same arguments give the same files.

    Args:
        root: The folder, new or empty.
        layout: ``'dota'`` or ``'hrsc'``.
        splits: Split to number of pictures.
        size: Side of the pictures.
        objects: Boxes tried in each.
        seed: Of the random numbers.
    """
    root = Path(root)
    rng = np.random.default_rng(seed)
    classes = ['ship'] if layout == 'hrsc' else list(SHAPES)
    write = write_hrsc if layout == 'hrsc' else write_dota
    number = 0
    for split, pictures in splits.items():
        for _ in range(pictures):
            picture, items = make_scene(rng, size, objects, classes)
            write(root, split, f'P{number:04d}', picture, items)
            number += 1


def main(argv: list[str] | None = None) -> None:
    """Make a set.

    Args:
        argv: The arguments; None takes those of the process.
    """
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--out', required=True, help='folder to write')
    parser.add_argument('--layout', choices=['dota', 'hrsc'], default='dota')
    parser.add_argument('--pictures', type=int, default=20, help='of each split')
    parser.add_argument('--size', type=int, default=512, help='side in pixels')
    parser.add_argument('--objects', type=int, default=12, help='per picture')
    parser.add_argument('--seed', type=int, default=0)
    args = parser.parse_args(argv)
    if args.layout == 'hrsc':
        splits = dict(trainval=args.pictures, test=args.pictures)
    else:
        splits = dict(train=args.pictures, val=args.pictures, test=args.pictures)
    make_set(args.out, args.layout, splits, args.size, args.objects, args.seed)
    print(f'{args.out}: {sum(splits.values())} pictures in the layout of {args.layout}')


if __name__ == '__main__':
    sys.exit(run_main(main))
