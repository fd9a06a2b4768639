"""Activation maps over pictures: what a net sees, and what it sees of the class."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .figure import RIGHT, WRONG, new_figure, save_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@dataclass
class PictureMaps:
    """What one net sees in one picture.

    Attributes:
        caam: Class-agnostic activation map (h, w), in [0, 1].
        cam: Class activation map of ``label`` (h, w), in [0, 1].
        prediction: Name of the predicted class.
        distance: Mean absolute difference of the two maps.
        share: Part of the CAAM's mass inside the CAM's largest fifth.
    """

    caam: np.ndarray
    cam: np.ndarray
    prediction: str
    distance: float
    share: float


def plot_cam_overlay(
    images: Sequence[np.ndarray],
    labels: Sequence[str],
    nets: dict[str, Sequence[PictureMaps]],
    path: str | os.PathLike | None = None,
) -> Figure:
    """Draw a row for each picture: the picture, then CAAM and CAM of each net.

    Below the maps stand the two numbers of that picture; a wrong prediction is named
    in red.

    Args:
        images: (H, W) or (H, W, 3) RGB, uint8.
        labels: Name of each picture's class.
        nets: Title of each net with its maps, one for each picture.
        path: Where to write the figure, or None.

    Returns:
        The figure.
    """
    rows, columns = len(images), 1 + 2 * len(nets)
    figure = new_figure(1.45 * columns, 1.75 * rows + 0.4)
    grid = figure.subplots(rows, columns, squeeze=False)
    for i, (image, label) in enumerate(zip(images, labels, strict=True)):
        for axes in grid[i]:
            axes.set_xticks([])
            axes.set_yticks([])
        grid[i, 0].imshow(image, cmap='gray', vmin=0, vmax=255)
        grid[i, 0].set_xlabel(label, fontsize=8)
        for n, (title, maps) in enumerate(nets.items()):
            both = grid[i, 1 + 2 * n : 3 + 2 * n]
            _draw(both[0], image, maps[i].caam)
            _draw(both[1], image, maps[i].cam)
            both[0].set_xlabel(
                f'distance {maps[i].distance:.3f}\ninside {maps[i].share:.0%}',
                fontsize=8,
            )
            right = maps[i].prediction == label
            both[1].set_xlabel(
                maps[i].prediction, fontsize=8, color=RIGHT if right else WRONG
            )
            if i == 0:
                both[0].set_title(f'{title}: CAAM', fontsize=9)
                both[1].set_title(f'{title}: CAM', fontsize=9)
    if path is not None:
        save_figure(figure, path)
    return figure


def _draw(axes: Axes, image: np.ndarray, heat: np.ndarray) -> None:
    """Lay a map over a greyed picture, stretched to its size."""
    grey = image if image.ndim == 2 else image.mean(2)
    height, width = image.shape[:2]
    axes.imshow(grey, cmap='gray', vmin=0, vmax=255)
    axes.imshow(
        heat,
        cmap='jet',
        vmin=0,
        vmax=1,
        alpha=0.5,
        interpolation='bilinear',
        extent=(-0.5, width - 0.5, height - 0.5, -0.5),
    )
