"""Test a checkpoint with any config of the project, or of one that uses dynnet.

Example:
    python tools/test.py configs/ranet/CONFIG.py work_dirs/ranet/epoch_300.pth
"""

import argparse
import os.path as osp
import sys

import mmengine
from mmengine.config import Config
from mmengine.evaluator import DumpResults

import dynnet  # noqa: F401  (registers dynnet's types and its configs)
from dynnet.utils.cli import add_common_arguments, build_runner, load_config, run_main
from dynnet.utils.errors import CheckpointError, ConfigError

PICKLES = ('.pkl', '.pickle')


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line.

    Args:
        argv: The arguments; None takes those of the process.
    """
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_common_arguments(parser)
    parser.add_argument('checkpoint', help='checkpoint file or address')
    parser.add_argument(
        '--out',
        metavar='FILE',
        help='write the predictions to a .pkl, or the metrics to a .json',
    )
    parser.add_argument('--show-dir', help='draw the predictions into this folder')
    parser.add_argument(
        '--save-thresholds',
        metavar='FILE',
        help='write the solved early exit thresholds to this .json',
    )
    return parser.parse_args(argv)


def set_show_dir(cfg: Config, show_dir: str) -> None:
    """Switch the visualisation hook of the config's toolbox on.

    Args:
        cfg: Changed in place.
        show_dir: Folder for the pictures.

    Raises:
        ConfigError: The config has no such hook.
    """
    hook = cfg.get('default_hooks', {}).get('visualization')
    if hook is None:
        raise ConfigError('--show-dir: the config has no default_hooks.visualization')
    if hook.type.endswith('DetVisualizationHook'):  # mmdet, mmrotate
        hook.draw, hook.test_out_dir = True, show_dir
    else:  # mmpretrain, mmaction2
        hook.enable, hook.out_dir = True, show_dir
        hook.setdefault('interval', 1)  # every sample, unless the config says less


def set_save_thresholds(cfg: Config, path: str) -> None:
    """Let the test loop write its thresholds.

    Args:
        cfg: Changed in place.
        path: The file.

    Raises:
        ConfigError: The config's test loop solves none.
    """
    kind = (cfg.get('test_cfg') or {}).get('type', 'TestLoop')
    if kind.rpartition('.')[2] != 'EarlyExitTestLoop':
        raise ConfigError(
            '--save-thresholds needs test_cfg.type=dynnet.EarlyExitTestLoop, but the '
            f'config has {kind}'
        )
    cfg.test_cfg.save_thresholds = path


def merge_config(args: argparse.Namespace) -> Config:
    """Read the config and merge the command line into it.

    Args:
        args: What :func:`parse_args` returned.
    """
    if '://' not in args.checkpoint and not osp.isfile(args.checkpoint):
        raise CheckpointError(f'checkpoint {args.checkpoint} does not exist')
    if args.out and not args.out.endswith((*PICKLES, '.json')):
        raise ConfigError(f'--out {args.out} must end with .pkl, .pickle or .json')
    cfg = load_config(args)
    cfg.load_from = args.checkpoint
    cfg.resume = False
    if args.show_dir:
        set_show_dir(cfg, args.show_dir)
    if args.save_thresholds:
        set_save_thresholds(cfg, args.save_thresholds)
    return cfg


def main(argv: list[str] | None = None) -> None:
    """Test.

    Args:
        argv: The arguments; None takes those of the process.
    """
    args = parse_args(argv)
    runner = build_runner(merge_config(args))
    if args.out and args.out.endswith(PICKLES):
        runner.test_evaluator.metrics.append(DumpResults(out_file_path=args.out))
    metrics = runner.test()
    if args.out and args.out.endswith('.json'):
        mmengine.dump(metrics, args.out, indent=2)


if __name__ == '__main__':
    sys.exit(run_main(main))
