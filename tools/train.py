"""Train any config of the project, or of an OpenMMLab project that uses dynnet.

Example:
    python tools/train.py configs/ranet/CONFIG.py --work-dir work_dirs/ranet
"""

import argparse
import os.path as osp
import sys

from mmengine.config import Config
from mmengine.runner import find_latest_checkpoint

import dynnet  # noqa: F401  (registers dynnet's types and its configs)
from dynnet.utils.cli import (
    add_common_arguments,
    build_runner,
    has_amp_device,
    load_config,
    run_main,
)
from dynnet.utils.errors import CheckpointError, ConfigError


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line.

    Args:
        argv: The arguments; None takes those of the process.
    """
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_common_arguments(parser)
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        metavar='CHECKPOINT',
        help='go on from this checkpoint; without a name, from the last one in the '
        'work folder',
    )
    parser.add_argument(
        '--amp', action='store_true', help='train in automatic mixed precision'
    )
    parser.add_argument(
        '--auto-scale-lr',
        action='store_true',
        help="scale the learning rate by the real batch size over the config's "
        'auto_scale_lr.base_batch_size',
    )
    return parser.parse_args(argv)


def set_amp(cfg: Config) -> None:
    """Let mmengine's AMP wrapper do the optimisation.

    Args:
        cfg: Changed in place.

    Raises:
        ConfigError: The config has an optimiser wrapper of its own.
    """
    kind = cfg.optim_wrapper.get('type', 'OptimWrapper')
    if kind not in ('OptimWrapper', 'AmpOptimWrapper'):
        raise ConfigError(f'--amp cannot replace optim_wrapper.type={kind}')
    cfg.optim_wrapper.type = 'AmpOptimWrapper'
    cfg.optim_wrapper.setdefault('loss_scale', 'dynamic')


def set_resume(cfg: Config, checkpoint: str) -> None:
    """Resume from ``checkpoint``.

    Args:
        cfg: Changed in place.
        checkpoint: Its path or address, or ``'auto'`` for the last one in the work
            folder; where there is none, the training starts anew.

    Raises:
        CheckpointError: The checkpoint does not exist.
    """
    cfg.resume, cfg.load_from = True, None
    path = checkpoint
    if checkpoint == 'auto':
        path = find_latest_checkpoint(cfg.work_dir)
    else:
        cfg.load_from = checkpoint
    if path is not None and '://' not in path and not osp.isfile(path):
        raise CheckpointError(f'checkpoint {path} does not exist')


def merge_config(args: argparse.Namespace) -> Config:
    """Read the config and merge the command line into it.

    Args:
        args: What :func:`parse_args` returned.
    """
    cfg = load_config(args)
    if args.amp:
        set_amp(cfg)
    if cfg.optim_wrapper.get('type') == 'AmpOptimWrapper' and not has_amp_device():
        raise ConfigError(
            'mixed precision (--amp, AmpOptimWrapper) needs a CUDA, NPU, MLU or MUSA '
            'device and this machine has none: train without it'
        )
    if args.resume is not None:
        set_resume(cfg, args.resume)
    if args.auto_scale_lr:
        if 'base_batch_size' not in (cfg.get('auto_scale_lr') or {}):
            raise ConfigError(
                f'--auto-scale-lr: {args.config} has no auto_scale_lr.base_batch_size'
            )
        cfg.auto_scale_lr.enable = True
    return cfg


def main(argv: list[str] | None = None) -> None:
    """Train.

    Args:
        argv: The arguments; None takes those of the process.
    """
    build_runner(merge_config(parse_args(argv))).train()


if __name__ == '__main__':
    sys.exit(run_main(main))
