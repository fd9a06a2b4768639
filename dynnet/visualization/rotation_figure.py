"""What adaptive rotated convolutions decide for a picture, layer by layer."""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from dynnet.models.layers import RotationRouting
from dynnet.utils.errors import ConfigError

from .figure import COLOURS, new_figure, save_figure


@dataclass
class Decisions:
    """Gates and angles of one picture.

    Attributes:
        layers: Names of the layers, in the order they ran.
        gates: One array (n,) for each, in (0, 1).
        angles: One array (n,) for each, in degrees.
    """

    layers: list[str]
    gates: list[np.ndarray]
    angles: list[np.ndarray]


@torch.no_grad()
def record_decisions(model: nn.Module, x: Tensor) -> Decisions:
    """Run a backbone and keep what its adaptive rotated convolutions decide.

    Args:
        model: Any module that takes ``x``.
        x: One picture (1, C, H, W), as the model takes it.

    Returns:
        Gates and angles.

    Raises:
        ConfigError: The model has no such convolution.
    """
    found = Decisions([], [], [])

    def hook_of(name: str):
        def hook(module: nn.Module, inputs: tuple, output: tuple) -> None:
            gates, angles = output
            found.layers.append(name)
            found.gates.append(gates[0].float().cpu().numpy())
            found.angles.append(np.degrees(angles[0].float().cpu().numpy()))

        return hook

    handles = [
        module.register_forward_hook(hook_of(name.removesuffix('.routing')))
        for name, module in model.named_modules()
        if isinstance(module, RotationRouting)
    ]
    if not handles:
        raise ConfigError('the model has no adaptive rotated convolution')
    try:
        model(x)
    finally:
        for handle in handles:
            handle.remove()
    return found


def draw_decisions(
    turned: dict[float, Decisions], path: str | os.PathLike, max_angle: float = 40.0
) -> None:
    """Draw angles (upper row) and gates (lower row) per layer.

    Args:
        turned: Degrees by which the picture was turned to its decisions; one column
            each.
        path: The file to write.
        max_angle: Limit of the axis of angles, in degrees.
    """
    columns = len(turned)
    figure = new_figure(max(4.0, 4.0 * columns), 6.0)
    axes = figure.subplots(2, columns, squeeze=False, sharey='row')
    for column, (degrees, found) in enumerate(turned.items()):
        places = np.arange(len(found.layers))
        for row, values in enumerate((found.angles, found.gates)):
            axis = axes[row, column]
            for k in range(max(map(len, values))):
                heights = [v[k] if k < len(v) else np.nan for v in values]
                colour = COLOURS[k % len(COLOURS)]
                axis.plot(places, heights, 'o-', ms=3, lw=1, c=colour, label=f'{k}')
            axis.set_xticks(places, found.layers, rotation=90, fontsize=6)
        axes[0, column].set_title(f'picture turned by {degrees:g} degrees', fontsize=9)
        axes[0, column].set_ylim(-max_angle, max_angle)
        axes[1, column].set_ylim(0, 1)
    axes[0, 0].set_ylabel('angle (degrees)')
    axes[1, 0].set_ylabel('gate')
    axes[0, 0].legend(title='kernel', fontsize=6, title_fontsize=6)
    save_figure(figure, path)
