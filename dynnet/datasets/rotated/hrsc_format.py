"""HRSC2016's annotation files: XML with centre, size and angle of every ship."""

import math
import xml.etree.ElementTree as ElementTree
from pathlib import Path

from dynnet.utils.errors import DataError

from .boxes import RotatedBox

_FIELDS = ('mbox_cx', 'mbox_cy', 'mbox_w', 'mbox_h', 'mbox_ang')


def parse_hrsc_file(path: str | Path) -> list[RotatedBox]:
    """Read the objects of an HRSC2016 picture.

    Args:
        path: An XML file of ``FullDataSet/Annotations``.

    Returns:
        One box an object, its class being ``Class_ID``; none where the file lists none.

    Raises:
        DataError: The file cannot be read, is no XML, or an object lacks a number;
            names file and object.
    """
    try:
        root = ElementTree.parse(path).getroot()
    except OSError as error:
        raise DataError(f'{path} cannot be read ({error})') from None
    except ElementTree.ParseError as error:
        raise DataError(f'{path} is no whole XML file ({error})') from None
    boxes = []
    for number, item in enumerate(root.iterfind('HRSC_Objects/HRSC_Object'), 1):
        where = f'{path}: object {number}'
        values = []
        for name in _FIELDS:
            text = item.findtext(name)
            try:
                value = float(text)
            except (TypeError, ValueError):
                raise DataError(f'{where}: {name} is {text!r}, no number') from None
            if not math.isfinite(value):
                raise DataError(f'{where}: {name} is not finite')
            values.append(value)
        difficult = item.findtext('difficult') or '0'
        boxes.append(
            RotatedBox(
                corners_of(*values),
                item.findtext('Class_ID') or '',
                int(difficult) if difficult.strip().isdigit() else 0,
                where,
            )
        )
    return boxes


def corners_of(
    cx: float, cy: float, width: float, height: float, angle: float
) -> tuple[float, ...]:
    """Corners x1, y1, ..., x4, y4 of a box turned clockwise (y down) by ``angle``.

    Args:
        cx: Centre in pixels.
        cy: The same.
        width: Side along the angle, in pixels.
        height: The other side.
        angle: Radians.
    """
    c, s = math.cos(angle), math.sin(angle)
    corners = []
    for u, v in ((-1, -1), (1, -1), (1, 1), (-1, 1)):
        x, y = u * width / 2, v * height / 2
        corners += [cx + x * c - y * s, cy + x * s + y * c]
    return tuple(corners)
