"""What the command lines of training and testing share."""

import argparse
import datetime
import linecache
import os
import os.path as osp
import sys
import traceback
from collections.abc import Callable

import torch
from mmengine.config import Config, ConfigDict, DictAction
from mmengine.device import (
    is_cuda_available,
    is_mlu_available,
    is_musa_available,
    is_npu_available,
)
from mmengine.registry import RUNNERS
from mmengine.runner import Runner

from .errors import ConfigError, DynnetError
from .optional import EXTRAS, require

PACKAGE = osp.dirname(osp.dirname(osp.abspath(__file__)))


def add_common_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that training and testing share.

    Args:
        parser: Gets ``config`` and the options.
    """
    parser.add_argument('config', help='config file')
    parser.add_argument('--work-dir', help='folder for logs and results')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        metavar='KEY=VALUE',
        help='settings that replace those of the config, such as '
        'model.test_cfg.mode=execute or key="[1,2]"',
    )
    parser.add_argument(
        '--launcher',
        choices=['none', 'pytorch', 'slurm', 'mpi'],
        default='none',
        help='how the processes of a distributed run are started',
    )
    # torch.distributed.launch hands this over; torchrun sets the variable instead.
    parser.add_argument(
        '--local_rank', '--local-rank', type=int, default=0, help=argparse.SUPPRESS
    )


def load_config(args: argparse.Namespace) -> Config:
    """Read the config and merge what :func:`add_common_arguments` offers.

    Args:
        args: Parsed arguments.

    Returns:
        The config, ready for a runner on this machine.

    Raises:
        ConfigError: The config file does not exist.
        ImportError: The toolbox of the config's ``default_scope`` is missing.
    """
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    if not osp.isfile(args.config):
        raise ConfigError(f'config file {args.config} does not exist')
    cfg = Config.fromfile(args.config)
    if args.cfg_options is not None:
        cfg.merge_from_dict(args.cfg_options)
    scope = cfg.get('default_scope')
    if scope in EXTRAS:
        require(scope, needed_by=args.config)
    if scope == 'mmpretrain':
        set_collate_functions(cfg)
    cfg.launcher = args.launcher
    # The command line, then the config, then the config's name decide.
    name = osp.splitext(osp.basename(args.config))[0]
    cfg.work_dir = args.work_dir or cfg.get('work_dir') or f'work_dirs/{name}'
    return cfg


def set_collate_functions(cfg: Config) -> None:
    """Stack the batches of mmpretrain configs, as its own tools do unasked.

    Args:
        cfg: Changed in place.
    """
    for split in ('train', 'val', 'test'):
        loader = cfg.get(f'{split}_dataloader')
        if loader is not None:
            loader.setdefault('collate_fn', ConfigDict(type='default_collate'))


def has_amp_device() -> bool:
    """Tell whether mmengine's AMP wrapper has a device to work on."""
    return (
        is_cuda_available()
        or is_npu_available()
        or is_mlu_available()
        or is_musa_available()
    )


def build_runner(cfg: Config) -> Runner:
    """Build the config's runner, on machines without a GPU too.

    Args:
        cfg: The merged config.

    Returns:
        The runner.

    Raises:
        ConfigError: The launcher cannot work on this machine.
    """
    if cfg.launcher != 'none' and not has_amp_device():
        start_processes_on_cpu(cfg)
    if 'runner_type' in cfg:
        return RUNNERS.build(cfg)
    return Runner.from_cfg(cfg)


def start_processes_on_cpu(cfg: Config) -> None:
    """Join the process group through gloo, which mmengine only does through CUDA.

    Args:
        cfg: Its launcher must be ``'pytorch'``. The model wrapper is told that there is
            no device.

    Raises:
        ConfigError: Another launcher.
    """
    if cfg.launcher != 'pytorch':
        raise ConfigError(
            f'--launcher {cfg.launcher} needs GPUs; on CPUs start the processes with '
            'torchrun and --launcher pytorch'
        )
    missing = {'RANK', 'WORLD_SIZE', 'MASTER_ADDR', 'MASTER_PORT'} - set(os.environ)
    if missing:
        raise ConfigError(
            '--launcher pytorch needs torchrun, which sets the environment variables '
            + ', '.join(sorted(missing))
        )
    if not torch.distributed.is_initialized():
        seconds = cfg.get('env_cfg', {}).get('dist_cfg', {}).get('timeout', 1800)
        torch.distributed.init_process_group(
            backend='gloo', timeout=datetime.timedelta(seconds=seconds)
        )
    wrapper = ConfigDict(
        type='MMDistributedDataParallel',
        broadcast_buffers=False,
        find_unused_parameters=cfg.get('find_unused_parameters', False),
    )
    wrapper.update(cfg.get('model_wrapper_cfg') or {})
    wrapper.device_ids = None
    cfg.model_wrapper_cfg = wrapper


def run_main(main: Callable[[], None]) -> int:
    """Run a tool; errors that tell a user what to change become one line.

    Args:
        main: The tool.

    Returns:
        Exit code.
    """
    try:
        main()
    except Exception as error:
        if not is_user_error(error):
            raise
        # From a loader's worker, the message is the worker's traceback and ends with
        # the line that counts: 'package.module.DataError: picture x.jpg ...'
        line = str(error).strip().splitlines()[-1]
        line = line.removeprefix(f'{type(error).__module__}.{type(error).__name__}: ')
        print(f'error: {line}', file=sys.stderr)
        return 1
    finally:
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()
    return 0


def is_user_error(error: Exception) -> bool:
    """Tell errors with a message for the user from bugs.

    Args:
        error: What ended a tool.

    Returns:
        True for a :class:`DynnetError` and for what a ``raise`` statement of dynnet
        raised; an error that happened inside dynnet by itself is a bug.
    """
    if isinstance(error, DynnetError):
        return True
    frame = traceback.extract_tb(error.__traceback__)[-1]
    ours = osp.abspath(frame.filename).startswith(PACKAGE + os.sep)
    line = linecache.getline(frame.filename, frame.lineno).strip()
    return ours and line.startswith('raise ')
