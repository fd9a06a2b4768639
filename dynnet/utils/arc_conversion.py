"""Bringing published ARC checkpoints, of backbones and of detectors, into dynnet."""

import argparse
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from torch import Tensor

from dynnet.registry import MODELS

from .checkpoint import save_checkpoint
from .conversion import State, check_state, read_published
from .errors import CheckpointError, ConfigError

# The published names of what an adaptive rotated convolution consists of, spelled so.
_NAMES = (
    ('rounting_func.', 'routing.'),
    ('dwc.', 'depthwise.'),
    ('norm.norm.', 'norm.'),
    ('fc_alpha.', 'gate.'),
    ('fc_theta.', 'angle.'),
)


def arc_keys(state_dict: State) -> dict[str, Tensor]:
    """Rename the keys of a published ARC convolution, routing or backbone.

    Args:
        state_dict: Without prefixes.

    Returns:
        In the same order, with dynnet's names; shapes are the same.
    """
    renamed = {}
    for name, value in state_dict.items():
        if 'rounting_func.' in name or re.match(
            r'(dwc|norm\.norm|fc_(alpha|theta))\.', name
        ):
            for published, ours in _NAMES:
                name = name.replace(published, ours)
        renamed[name] = value
    return renamed


@dataclass
class ARCCheckpoint:
    """A published file, sorted.

    Attributes:
        backbone: In dynnet's names, without a prefix.
        neck: The neck's parameters, as mmdet names them; empty in a backbone's file.
        left_out: Names that are not converted: heads, a classifier's last layer.
    """

    backbone: dict[str, Tensor]
    neck: dict[str, Tensor] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)

    @property
    def kernel_numbers(self) -> dict[str, int]:
        """Number of kernels of every adaptive rotated convolution, by its name."""
        return {
            name.removesuffix('.weight'): len(value)
            for name, value in self.backbone.items()
            if value.dim() == 5
        }


def read_arc(state_dict: Mapping[str, Tensor]) -> ARCCheckpoint:
    """Sort the entries of a published backbone's or detector's state dict.

    Args:
        state_dict: With or without ``module.``; with ``backbone.`` in a detector's.
            Old files lack BN's ``num_batches_tracked``, which are added as zero.

    Returns:
        What can be converted and what cannot.
    """
    plain = {name.removeprefix('module.'): v for name, v in state_dict.items()}
    is_detector = any(name.startswith('backbone.') for name in plain)
    backbone, neck, left_out = {}, {}, []
    for name, value in plain.items():
        part, _, rest = name.partition('.')
        if is_detector and part == 'backbone':
            backbone[rest] = value
        elif is_detector and part == 'neck':
            neck[rest] = value
        elif is_detector or part == 'fc':
            left_out.append(name)
        else:
            backbone[name] = value
    for name in [n for n in backbone if n.endswith('.running_var')]:
        counter = name.removesuffix('running_var') + 'num_batches_tracked'
        backbone.setdefault(counter, torch.zeros((), dtype=torch.int64))
    return ARCCheckpoint(arc_keys(backbone), neck, left_out)


def convert_arc(
    source: str | Path, target: str | Path, config: str | Path
) -> ARCCheckpoint:
    """Convert a published checkpoint for the backbone (and neck) of a config.

    The heads of a published detector are not converted: it measures angles
    counter-clockwise in [-90, 90) degrees where mmrotate's le90 goes clockwise, and it
    enlarges regions by (1.4, 1.2) before pooling, which mmrotate does not.

    Args:
        source: The published file.
        target: Where the converted one is written, whole or not at all. Its names begin
            with ``backbone.`` and ``neck.``: load it with ``load_from``, or the
            backbone alone with ``init_cfg=dict(type='Pretrained', checkpoint=...,
            prefix='backbone.')``.
        config: A config whose ``model.backbone`` is the file's network.

    Returns:
        What was converted, and the names of what was not.

    Raises:
        CheckpointError: The file cannot be opened or does not fit the config.
        ConfigError: There is no such config, or it has no backbone.
    """
    content = read_published(source)
    if not Path(config).is_file():
        raise ConfigError(f'config file {config} does not exist')
    cfg = Config.fromfile(config)
    if (cfg.get('model') or {}).get('backbone') is None:
        raise ConfigError(f'{config} has no model.backbone')
    found = read_arc(content['state_dict'])
    if not found.kernel_numbers:
        raise CheckpointError(
            f'{source}: no adaptive rotated convolution in it (no weight of 5 axes)'
        )
    parts = dict(backbone=found.backbone)
    if found.neck:
        if cfg.model.get('neck') is None:
            raise ConfigError(f'{source} has a neck, {config} has none')
        parts['neck'] = found.neck
    state_dict = {}
    scope = cfg.get('default_scope') or 'mmpretrain'
    for part, values in parts.items():
        part_cfg = {k: v for k, v in cfg.model[part].items() if k != 'init_cfg'}
        with DefaultScope.overwrite_default_scope(scope):
            expected = MODELS.build(part_cfg).state_dict()
        check_state(values, expected, f'{source} ({part})')
        state_dict |= {f'{part}.{name}': value for name, value in values.items()}
    meta = dict(converted_from=Path(source).name)
    save_checkpoint(target, dict(meta=meta, state_dict=state_dict))
    return found


def run_arc_converter(argv: list[str] | None = None) -> None:
    """The command line: SOURCE TARGET --config CONFIG.

    Args:
        argv: The arguments; None takes those of the process.
    """
    parser = argparse.ArgumentParser(description='Convert a published ARC checkpoint.')
    parser.add_argument('source', help='published checkpoint')
    parser.add_argument('target', help='converted checkpoint to write')
    parser.add_argument('--config', required=True, help='config of the same network')
    args = parser.parse_args(argv)
    done = convert_arc(args.source, args.target, args.config)
    print(f'{args.target}: {len(done.backbone)} tensors of the backbone')
    if done.neck:
        print(f'{len(done.neck)} tensors of the neck')
    if done.left_out:
        heads = sorted({name.partition('.')[0] for name in done.left_out})
        print(
            f'not converted: {len(done.left_out)} tensors of {", ".join(heads)} '
            '(published heads measure angles the other way round and pool enlarged '
            'regions)'
        )
