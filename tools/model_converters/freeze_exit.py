"""Freeze an early-exit classifier to one exit: a plain, smaller classifier.

Writes its checkpoint OUT.pth and, beside it, its config OUT.py: the data of the given
config, the smaller model, mmpretrain's accuracy.

Example:
    python tools/model_converters/freeze_exit.py configs/ranet/CONFIG.py epoch_300.pth \
        2 ranet_exit2.pth
    python tools/test.py ranet_exit2.py ranet_exit2.pth
"""

import argparse
import os
import sys
from pathlib import Path

from mmengine.config import Config

from dynnet.apis.inference import read_config, scope_of
from dynnet.registry import MODELS
from dynnet.utils.atomic import write_atomic
from dynnet.utils.checkpoint import load_checkpoint, save_checkpoint
from dynnet.utils.cli import run_main
from dynnet.utils.errors import ConfigError
from dynnet.utils.optional import require


def freeze_config(cfg: Config, k: int) -> Config:
    """Return a config of exit ``k`` alone that trains and tests like any other.

    Args:
        cfg: Config with a ``MultiExitClassifier``; left as it is.
        k: The exit, counted from 1.

    Raises:
        ConfigError: The model has no such exit.
    """
    from dynnet.models.classifiers.freeze_exit import freeze_exit_config

    if cfg.get('model') is None:
        raise ConfigError(f'{cfg.filename or "the config"} has no model')
    frozen = cfg.to_dict()
    with scope_of(cfg):
        frozen['model'] = freeze_exit_config(frozen['model'], k)
    topk = frozen['model']['head'].get('topk', (1,))
    for split in ('val', 'test'):
        if frozen.get(f'{split}_dataloader') is not None:
            frozen[f'{split}_evaluator'] = dict(type='mmpretrain.Accuracy', topk=topk)
            frozen[f'{split}_cfg'] = dict()
    return Config(frozen)


def freeze(
    config: str | os.PathLike,
    checkpoint: str | os.PathLike,
    k: int,
    out: str | os.PathLike,
) -> str:
    """Write the frozen model's checkpoint and config.

    Args:
        config: Config with a ``MultiExitClassifier``.
        checkpoint: Its checkpoint.
        k: The exit, counted from 1.
        out: The checkpoint to write; the config goes beside it, ending in ``.py``.

    Returns:
        What was done, in one line.

    Raises:
        ConfigError: The config is wrong, has no such exit, or would be overwritten.
        CheckpointError: The checkpoint cannot be opened or does not fit the config.
    """
    require('mmpretrain', needed_by='A frozen exit')
    from dynnet.models.classifiers.freeze_exit import freeze_exit_state

    out_config = Path(out).with_suffix('.py')
    inputs = {Path(config).resolve(), Path(checkpoint).resolve()}
    if {Path(out).resolve(), out_config.resolve()} & inputs or out_config == Path(out):
        raise ConfigError(f'{out} and {out_config} must be new files: choose another')
    cfg = read_config(config)
    frozen = freeze_config(cfg, k)
    content = load_checkpoint(checkpoint)
    with scope_of(frozen):
        expected = MODELS.build(frozen.model).state_dict()
    weights = freeze_exit_state(content['state_dict'], k, expected, str(checkpoint))
    meta = dict(frozen_from=Path(checkpoint).name, frozen_exit=k)
    dataset_meta = (content.get('meta') or {}).get('dataset_meta')
    if dataset_meta is not None:
        meta['dataset_meta'] = dataset_meta
    save_checkpoint(out, dict(meta=meta, state_dict=weights))
    write_atomic(out_config, frozen.pretty_text.encode())
    return (
        f'{out}: exit {k}, {len(weights)} of {len(content["state_dict"])} tensors; '
        f'{out_config} is its config'
    )


def main(argv: list[str] | None = None) -> None:
    """Run the tool.

    Args:
        argv: The arguments; None takes those of the process.
    """
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('config', help='config of an early-exit classifier')
    parser.add_argument('checkpoint', help='its checkpoint')
    parser.add_argument('k', type=int, metavar='K', help='the exit, counted from 1')
    parser.add_argument('out', metavar='OUT.pth', help='the checkpoint to write')
    args = parser.parse_args(argv)
    print(freeze(args.config, args.checkpoint, args.k, args.out))


if __name__ == '__main__':
    sys.exit(run_main(main))
