"""Boxes as four corners, and which of them can be learned from."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

# Polygons of less area (pixels) than this have no direction.
MIN_AREA = 1e-3


@dataclass
class RotatedBox:
    """One annotated object.

    Attributes:
        corners: x1, y1, ..., x4, y4 in pixels.
        class_name: Its class.
        difficulty: 0, or more for objects that are hard to tell.
        where: File and line, for messages.
    """

    corners: tuple[float, ...]
    class_name: str
    difficulty: int = 0
    where: str = ''


@dataclass
class Skipped:
    """Boxes that were left out, counted by the reason, with one example of each."""

    counts: Counter = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)

    def add(self, reason: str, where: str) -> None:
        """Count one more."""
        self.counts[reason] += 1
        self.examples.setdefault(reason, where)

    def summary(self) -> str:
        """Say in one line what was left out."""
        return '; '.join(
            f'{count} {reason} (first: {self.examples[reason]})'
            for reason, count in self.counts.items()
        )


def polygon_area(corners: Sequence[float]) -> float:
    """Area of a polygon x1, y1, x2, y2, ... by the shoelace formula."""
    xs, ys = corners[0::2], corners[1::2]
    pairs = zip(xs, ys, (*xs[1:], xs[0]), (*ys[1:], ys[0]))
    return abs(sum(x * v - u * y for x, y, u, v in pairs)) / 2


def is_outside(corners: Sequence[float], width: int, height: int) -> bool:
    """Whether no part of the box's bounding rectangle lies in the picture."""
    xs, ys = corners[0::2], corners[1::2]
    return max(xs) <= 0 or max(ys) <= 0 or min(xs) >= width or min(ys) >= height
