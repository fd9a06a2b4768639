"""Figures that need no display."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Colours that stay apart for most colour-blind readers (Okabe and Ito).
COLOURS = ('#0072B2', '#D55E00', '#009E73', '#CC79A7', '#E69F00', '#56B4E9')
RIGHT, WRONG = '#00664B', '#B3261E'


def new_figure(width: float, height: float) -> Figure:
    """An empty figure that belongs to no window and no global state.

    Args:
        width: Inches.
        height: Inches.

    Returns:
        The figure.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout='constrained')
    FigureCanvasAgg(figure)
    return figure


def save_figure(figure: Figure, path: str | os.PathLike, dpi: int = 150) -> None:
    """Write a figure; its folder is made when missing.

    Args:
        figure: The figure.
        path: The file; its extension says the format.
        dpi: Pixels per inch.
    """
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=dpi)
