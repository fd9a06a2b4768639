"""Export an early-exit network to ONNX, one graph per exit, and check the graphs.

``tools/deployment/run_onnx.py`` runs them.

Example:
    python tools/deployment/export_onnx.py configs/ranet/CONFIG.py epoch_300.pth onnx/ \
        --thresholds thresholds.json --budget 20e6
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import torch

from dynnet.apis import EarlyExitInferencer
from dynnet.apis.command_line import (
    add_model_arguments,
    parse_thresholds,
    read_model_config,
)
from dynnet.apis.early_exit_inferencer import collate, input_channels
from dynnet.deployment import OnnxEarlyExit, export_exits
from dynnet.utils.cli import run_main
from dynnet.utils.errors import ConfigError

TOLERANCE = 1e-4  # of the logits, relative to the largest if that is above 1


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line.

    Args:
        argv: The arguments; None takes those of the process.
    """
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_model_arguments(parser)
    parser.add_argument('folder', help='where the graphs go')
    parser.add_argument(
        '--dynamic-batch',
        action='store_true',
        help='graphs take any number of pictures',
    )
    parser.add_argument(
        '--opset', type=int, default=18, help='version of the operators'
    )
    return parser.parse_args(argv)


def find_input_shape(inferencer: EarlyExitInferencer) -> tuple[int, ...]:
    """Say what the network gets, by sending blank pictures through the test pipeline.

    Args:
        inferencer: Has the pipeline and the data preprocessor.

    Returns:
        (C, H, W).

    Raises:
        ConfigError: It depends on the picture.
    """
    channels = input_channels(inferencer.model)
    shapes = []
    for size in ((300, 300), (500, 400)):
        blank = np.zeros((*size, 3)[: 2 if channels == 1 else 3], np.uint8)
        packed = [inferencer.pipeline(blank)]
        inputs = collate(inferencer.model.data_preprocessor, packed)
        shapes.append(tuple(inputs.shape[1:]))
    if shapes[0] != shapes[1]:
        raise ConfigError(
            'the test pipeline leaves pictures at the size they have: give theirs with '
            '--size H W'
        )
    return shapes[0]


@torch.no_grad()
def check(model: torch.nn.Module, folder: str, shape: tuple[int, ...]) -> float:
    """Compare the logits of all exits on random pictures.

    Args:
        model: What was exported.
        folder: The export.
        shape: (C, H, W) of the pictures.

    Returns:
        The largest difference, relative to the largest logit if that is above 1.

    Raises:
        RuntimeError: It is above the tolerance.
    """
    x = torch.randn(4, *shape)
    expected = model(x).numpy()
    worst = 0.0
    for k, logits in enumerate(expected):
        everybody = [np.inf] * k + [-np.inf] * (len(expected) - 1 - k)
        got, _ = OnnxEarlyExit(folder, everybody[: len(expected) - 1])(x.numpy())
        error = abs(got - logits).max() / max(1.0, abs(logits).max())
        worst = max(worst, float(error))
    if not worst <= TOLERANCE:
        raise RuntimeError(f'the graphs differ from the model by {worst:.1e}')
    return worst


def main(argv: list[str] | None = None) -> None:
    """Export.

    Args:
        argv: The arguments; None takes those of the process.
    """
    args = parse_args(argv)
    cfg = read_model_config(args)
    inferencer = EarlyExitInferencer(
        cfg,
        args.checkpoint,
        parse_thresholds(args.thresholds),
        args.budget,
        mode='simulate',
        device='cpu',
        size=args.size,
    )
    model, shape = inferencer.model, find_input_shape(inferencer)
    manifest = export_exits(model, args.folder, shape, args.dynamic_batch, args.opset)
    cfg.dump(Path(args.folder) / 'config.py')
    error = check(model, args.folder, shape)
    print(
        f'{args.folder}: {len(manifest["segments"])} graphs for pictures of shape '
        f'{shape}; all exits within {error:.0e} of PyTorch'
    )
    if manifest['thresholds'] is None:
        print('They have no thresholds: give them when you run the graphs.')


if __name__ == '__main__':
    sys.exit(run_main(main))
