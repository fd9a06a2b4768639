"""Draw the sample weights that L2W-DEN has learned against the losses, per exit.

The paper's argument is that easy samples should weigh more at early exits and hard ones
at late exits; the printed table shows whether they do.

Example:
    python tools/analysis_tools/plot_sample_weights.py CONFIG CHECKPOINT --out w.png
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import torch
from mmengine.config import DictAction
from mmengine.runner import Runner

from dynnet.apis import init_model
from dynnet.apis.inference import read_config, scope_of
from dynnet.evaluation.functional import format_table
from dynnet.models.heads.multi_exit_head import gather_target
from dynnet.utils.cli import run_main
from dynnet.utils.errors import ConfigError
from dynnet.visualization import plot_sample_weights, weights_by_difficulty

GROUPS = ('easiest quarter', 'second', 'third', 'hardest quarter')


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line.

    Args:
        argv: The arguments; None takes those of the process.
    """
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('config', help='config of an L2WClassifier')
    parser.add_argument('checkpoint', help='its checkpoint')
    parser.add_argument('--out', required=True, help='picture to write')
    parser.add_argument('--json', help='file for the printed table')
    parser.add_argument(
        '--split',
        choices=('train', 'val', 'test'),
        default='val',
        help='whose pictures: those of this loader',
    )
    parser.add_argument('--max-samples', type=int, default=2000)
    parser.add_argument('--cfg-options', nargs='+', action=DictAction)
    return parser.parse_args(argv)


def collect(
    model: torch.nn.Module, loader: torch.utils.data.DataLoader, number: int
) -> tuple[np.ndarray, np.ndarray]:
    """Losses and weights of the loader's first samples, (N, E) each."""
    losses, weights, seen = [], [], 0
    for data in loader:
        data = model.data_preprocessor(data, False)
        target = gather_target(data['data_samples'], model.head.num_classes)
        parts = model.predict_weights(data['inputs'], target.to(data['inputs'].device))
        losses.append(parts[0].cpu().numpy())
        weights.append(parts[1].cpu().numpy())
        seen += len(target)
        if seen >= number:
            break
    return np.concatenate(losses)[:number], np.concatenate(weights)[:number]


def main(argv: list[str] | None = None) -> None:
    """Draw.

    Args:
        argv: The arguments; None takes those of the process.
    """
    args = parse_args(argv)
    cfg = read_config(args.config)
    cfg.merge_from_dict(args.cfg_options or {})
    model = init_model(cfg, args.checkpoint)
    if not hasattr(model, 'predict_weights'):
        raise ConfigError(
            f'{args.config} describes a {type(model).__name__}, not an L2WClassifier'
        )
    loader_cfg = dict(cfg[f'{args.split}_dataloader'])
    loader_cfg.setdefault('collate_fn', dict(type='default_collate'))
    with scope_of(cfg):
        loader = Runner.build_dataloader(loader_cfg)
    losses, weights = collect(model, loader, args.max_samples)
    table = weights_by_difficulty(losses, weights)
    header = ['mean weight of', *(f'exit {k + 1}' for k in range(model.num_exits))]
    rows = [
        [name, *(f'{value:.3f}' for value in row)] for name, row in zip(GROUPS, table)
    ]
    print(format_table(header, rows))
    plot_sample_weights(losses, weights, args.out)
    print(f'{args.out} drawn from {len(losses)} pictures ({args.split})')
    if args.json:
        content = dict(samples=len(losses), split=args.split, weights=table.tolist())
        Path(args.json).write_text(json.dumps(content, indent=2) + '\n')


if __name__ == '__main__':
    sys.exit(run_main(main))
