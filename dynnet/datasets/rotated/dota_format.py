"""DOTA's annotation files: one box a line."""

import math
from pathlib import Path

from dynnet.utils.errors import DataError

from .boxes import RotatedBox

# The first lines of DOTA's own files (before they are split into patches).
_HEADERS = ('imagesource', 'gsd')


def parse_dota_file(path: str | Path) -> list[RotatedBox]:
    """Read ``x1 y1 x2 y2 x3 y3 x4 y4 class [difficulty]`` line by line.

    Empty lines and DOTA's two header lines are passed over; a missing difficulty is 0.

    Args:
        path: A file of ``labelTxt`` or ``annfiles``.

    Returns:
        The boxes in the file's order.

    Raises:
        DataError: The file cannot be read, or a line is no box; names file and line.
    """
    try:
        lines = Path(path).read_text(encoding='utf-8').splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f'{path} cannot be read ({error})') from None
    boxes = []
    for number, line in enumerate(lines, 1):
        text = line.strip()
        header = text.partition(':')[0].lower() in _HEADERS
        if not text or header:
            continue
        boxes.append(_parse_line(text, f'{path}:{number}'))
    return boxes


def _parse_line(line: str, where: str) -> RotatedBox:
    fields = line.split()
    if len(fields) not in (9, 10):
        raise DataError(
            f'{where}: {len(fields)} fields, expected 8 coordinates, a class and '
            f'optionally a difficulty: {line!r}'
        )
    try:
        corners = tuple(float(value) for value in fields[:8])
    except ValueError:
        bad = next(value for value in fields[:8] if not _is_number(value))
        raise DataError(f'{where}: {bad!r} is no number') from None
    if not all(math.isfinite(value) for value in corners):
        raise DataError(f'{where}: a coordinate is not finite: {line!r}')
    difficulty = fields[9] if len(fields) == 10 else '0'
    if not difficulty.isdigit():
        raise DataError(f'{where}: the difficulty {difficulty!r} is no whole number')
    return RotatedBox(corners, fields[8], int(difficulty), where)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def format_dota_line(box: RotatedBox) -> str:
    """Write one box as DOTA does."""
    corners = ' '.join(f'{value:.1f}' for value in box.corners)
    return f'{corners} {box.class_name} {box.difficulty}'
