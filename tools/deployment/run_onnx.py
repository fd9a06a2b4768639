"""Classify pictures with the ONNX graphs of an early-exit network.

Example:
    python tools/deployment/run_onnx.py onnx/ cat.png dog.png
"""

import argparse
import sys
import time
from pathlib import Path

import numpy as np
from mmengine.registry import MODELS

from dynnet.apis import PicturePipeline
from dynnet.apis.command_line import format_results
from dynnet.apis.early_exit_inferencer import collate, describe
from dynnet.apis.inference import read_config, scope_of
from dynnet.deployment import OnnxEarlyExit
from dynnet.utils.cli import run_main
from dynnet.utils.errors import ConfigError


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line.

    Args:
        argv: The arguments; None takes those of the process.
    """
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('folder', help='what export_onnx.py wrote')
    parser.add_argument('pictures', nargs='+', help='picture files')
    parser.add_argument(
        '--thresholds',
        nargs='+',
        type=float,
        metavar='T',
        help='one number per exit but the last; default: those of the export',
    )
    parser.add_argument(
        '--size',
        nargs=2,
        type=int,
        metavar=('H', 'W'),
        help='resize the pictures first, where the test pipeline does not',
    )
    parser.add_argument('--threads', type=int, help='threads of onnxruntime')
    return parser.parse_args(argv)


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities of logits (C,)."""
    powers = np.exp(logits - logits.max())
    return powers / powers.sum()


def main(argv: list[str] | None = None) -> None:
    """Predict, one picture at a time.

    Args:
        argv: The arguments; None takes those of the process.
    """
    args = parse_args(argv)
    folder = Path(args.folder)
    if not (folder / 'config.py').is_file():
        raise ConfigError(f'{folder} has no config.py: not written by export_onnx.py')
    net = OnnxEarlyExit(folder, args.thresholds, num_threads=args.threads)
    cfg = read_config(folder / 'config.py')
    pipeline = PicturePipeline(cfg, net.input_shape[0], args.size)
    preprocessor = dict(
        cfg.model.get('data_preprocessor') or cfg.get('data_preprocessor') or {}
    )
    preprocessor.setdefault('type', 'mmpretrain.ClsDataPreprocessor')
    with scope_of(cfg):
        preprocessor = MODELS.build(preprocessor)
    net(np.zeros((1, *net.input_shape)))  # the first run is slow: not timed
    results = []
    for picture in args.pictures:
        x = collate(preprocessor, [pipeline(picture)]).numpy()
        begin = time.perf_counter()
        logits, exits = net(x)
        ms = (time.perf_counter() - begin) * 1000
        exit_index = int(exits[0])
        results.append(
            describe(softmax(logits[0]), net.classes)
            | dict(exit=exit_index + 1, macs=net.exit_macs[exit_index], ms=ms)
        )
    print(format_results(args.pictures, results))


if __name__ == '__main__':
    sys.exit(run_main(main))
