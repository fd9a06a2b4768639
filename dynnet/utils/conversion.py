"""Bringing published checkpoints into dynnet's layout, strictly."""

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from torch import Tensor

from dynnet.registry import MODELS

from .checkpoint import save_checkpoint
from .errors import CheckpointError, ConfigError

State = Mapping[str, Tensor]


@dataclass
class Conversion:
    """A converted state dict and what was left of the file.

    Attributes:
        state_dict: In dynnet's layout, complete for its model.
        left_out: Other entries of the file (optimizer, epoch, ...), not converted.
    """

    state_dict: dict[str, Tensor]
    left_out: list[str] = field(default_factory=list)


def early_exit_keys(state_dict: State) -> dict[str, Tensor]:
    """Rename the keys of a published RANet or MSDNet.

    Args:
        state_dict: With or without the ``module.`` of a data-parallel wrapper.

    Returns:
        ``classifier.{e}.`` becomes ``head.exits.{e}.``; all else is the backbone's.
    """
    renamed = {}
    for name, value in state_dict.items():
        name = name.removeprefix('module.')
        if name.startswith('classifier.'):
            renamed['head.exits.' + name.removeprefix('classifier.')] = value
        else:
            renamed['backbone.' + name] = value
    return renamed


def l2w_keys(state_dict: State, meta_state_dict: State) -> dict[str, Tensor]:
    """Rename the keys of a published L2W-DEN checkpoint's two networks.

    Args:
        state_dict: Of the network that is trained: an MSDNet's or a RANet's.
        meta_state_dict: Of the weight prediction network.

    Returns:
        The former as :func:`early_exit_keys` renames it; the latter under ``wpn.``.
    """
    renamed = early_exit_keys(state_dict)
    for name, value in meta_state_dict.items():
        renamed['wpn.' + name.removeprefix('module.')] = value
    return renamed


def read_published(path: str | Path) -> dict[str, Any]:
    """Open a published checkpoint with torch's safe loader.

    Args:
        path: A file with the key ``state_dict``, or a bare state dict.

    Returns:
        The content; a bare state dict as ``{'state_dict': ...}``.

    Raises:
        CheckpointError: no such file, not a checkpoint, or one that asks to run code.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f'{path} does not exist')
    try:
        content = torch.load(path, map_location='cpu', weights_only=True)
    except Exception as error:  # torch raises many kinds
        reason = (str(error).strip().splitlines() or [repr(error)])[0]
        raise CheckpointError(
            f'{path}: the safe loader does not open it: it is no checkpoint, or it '
            f'asks to run code ({type(error).__name__}: {reason})'
        ) from None
    if isinstance(content, dict) and isinstance(content.get('state_dict'), dict):
        entries = content['state_dict']
    elif isinstance(content, dict):
        entries, content = content, {'state_dict': content}
    else:
        raise CheckpointError(f'{path}: holds a {type(content).__name__}, no weights')
    strange = [k for k, v in entries.items() if not isinstance(v, Tensor)]
    if strange or not entries:
        raise CheckpointError(
            f'{path}: no state dict: '
            + (f'{strange[0]!r} is no tensor' if strange else 'it is empty')
        )
    return content


def check_state(state_dict: State, expected: State, source: str) -> None:
    """Refuse a state dict that is not exactly a model's.

    Raises:
        CheckpointError: lists missing and unused keys and wrong shapes.
    """
    problems = [f'missing {name}' for name in expected if name not in state_dict]
    problems += [f'unused {name}' for name in state_dict if name not in expected]
    for name, value in state_dict.items():
        if name in expected and value.shape != expected[name].shape:
            problems.append(
                f'{name} has shape {tuple(value.shape)}, the config wants '
                f'{tuple(expected[name].shape)}'
            )
    if problems:
        shown = '; '.join(problems[:5])
        more = f'; and {len(problems) - 5} more' if len(problems) > 5 else ''
        raise CheckpointError(f'{source} does not fit the config: {shown}{more}')


def convert_checkpoint(
    source: str | Path,
    target: str | Path,
    config: str | Path | Config,
    rename: Callable[..., dict[str, Tensor]],
    entries: Sequence[str] = ('state_dict',),
) -> Conversion:
    """Convert a published checkpoint for the model of a config.

    Args:
        source: The published file.
        target: Where the converted checkpoint is written, whole or not at all.
        config: The dynnet config of the same network, or its file.
        rename: Maps the published keys to dynnet's; takes the state dicts of
            ``entries``.
        entries: Entries of the file that hold them.

    Returns:
        What was converted.

    Raises:
        CheckpointError: the file cannot be opened, lacks an entry or does not fit the
            config.
        ConfigError: there is no such config, or it has no model.
    """
    content = read_published(source)
    cfg = config
    if not isinstance(cfg, Config):
        if not Path(config).is_file():
            raise ConfigError(f'config file {config} does not exist')
        cfg = Config.fromfile(config)
    if cfg.get('model') is None:
        raise ConfigError(f'{cfg.filename or "the config"} has no model')
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope', 'mmpretrain')):
        expected = MODELS.build(cfg.model).state_dict()
    for entry in entries:
        if not isinstance(content.get(entry), Mapping):
            raise CheckpointError(f'{source}: it has no {entry!r}')
    state_dict = rename(*(content[entry] for entry in entries))
    check_state(state_dict, expected, str(source))
    left_out = sorted(set(content) - set(entries))
    meta = dict(converted_from=Path(source).name)
    save_checkpoint(target, dict(meta=meta, state_dict=state_dict))
    return Conversion(state_dict, left_out)


def run_converter(
    description: str,
    rename: Callable[..., dict[str, Tensor]],
    argv: list[str] | None = None,
    entries: Sequence[str] = ('state_dict',),
) -> None:
    """The command line of a converter: SOURCE TARGET --config CONFIG.

    Args:
        description: First line of the help.
        rename: Maps the published keys to dynnet's; takes the state dicts of
            ``entries``.
        argv: The arguments; None takes those of the process.
        entries: Entries of the file that hold them.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument('source', help='published checkpoint')
    parser.add_argument('target', help='converted checkpoint to write')
    parser.add_argument('--config', required=True, help='config of the same network')
    args = parser.parse_args(argv)
    done = convert_checkpoint(args.source, args.target, args.config, rename, entries)
    print(f'{args.target}: {len(done.state_dict)} tensors, none missing, none unused')
    if done.left_out:
        print(f'not converted: {", ".join(done.left_out)}')
