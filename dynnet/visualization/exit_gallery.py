"""Easy pictures beside hard ones: who left first and who needed the last exit."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .figure import RIGHT, WRONG, new_figure, save_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure, SubFigure


@dataclass
class GalleryPicture:
    """A picture with what the network said about it.

    Attributes:
        image: (H, W) or (H, W, 3) RGB, uint8.
        label: Name of the true class.
        prediction: Name of the predicted class.
        confidence: Of the prediction, in [0, 1].
    """

    image: np.ndarray
    label: str
    prediction: str
    confidence: float


def choose_pictures(
    exit_index: np.ndarray, exit: int, number: int, seed: int = 0
) -> np.ndarray:
    """Draw pictures that left at an exit, at random: a gallery should not flatter.

    Args:
        exit_index: (N,), where each picture left, from 0.
        exit: The exit, from 0.
        number: How many to draw at most.
        seed: Seed of the choice.

    Returns:
        Up to ``number`` indices, rising.
    """
    candidates = np.flatnonzero(np.asarray(exit_index) == exit)
    order = np.random.default_rng(seed).permutation(len(candidates))[:number]
    return np.sort(candidates[order])


def plot_exit_gallery(
    early: Sequence[GalleryPicture],
    late: Sequence[GalleryPicture],
    path: str | os.PathLike | None = None,
    titles: tuple[str, str] = ('left at the first exit', 'needed the last exit'),
    columns: int = 4,
) -> Figure:
    """Draw two groups of pictures side by side.

    Below a picture stand its class and the confidence; where the network was wrong, in
    red, what it took the picture for.

    Args:
        early: The left group.
        late: The right group.
        path: Where to write the figure, or None.
        titles: Titles of the groups.
        columns: Pictures per row of a group.

    Returns:
        The figure.
    """
    rows = max(1, -(-max(len(early), len(late)) // columns))
    figure = new_figure(2 * columns * 1.25 + 0.4, rows * 1.5 + 0.5)
    for group, pictures, title in zip(
        figure.subfigures(1, 2, wspace=0.04), (early, late), titles
    ):
        _draw_group(group, pictures, title, rows, columns)
    if path is not None:
        save_figure(figure, path)
    return figure


def _draw_group(
    group: SubFigure,
    pictures: Sequence[GalleryPicture],
    title: str,
    rows: int,
    columns: int,
) -> None:
    group.suptitle(title, fontsize=11, fontweight='bold')
    for i, axes in enumerate(group.subplots(rows, columns, squeeze=False).flat):
        axes.axis('off')
        if i >= len(pictures):
            axes.text(0.5, -0.04, '\n', transform=axes.transAxes, va='top', fontsize=8)
            continue  # the empty caption keeps the rows of both groups level
        picture = pictures[i]
        axes.imshow(picture.image, cmap='gray', vmin=0, vmax=255)
        right = picture.prediction == picture.label
        caption = picture.label if right else f'{picture.label}, not'
        said = '' if right else f'{picture.prediction} '
        axes.text(
            0.5,
            -0.04,
            f'{caption}\n{said}{picture.confidence:.2f}',
            transform=axes.transAxes,
            ha='center',
            va='top',
            fontsize=8,
            color=RIGHT if right else WRONG,
        )
    if not pictures:
        group.text(0.5, 0.5, '(none)', ha='center')
