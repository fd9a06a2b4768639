"""Find gate thresholds by which an AdaFocus with frame skipping costs a given budget.

The gates' probabilities are those of held-out clips. What is printed goes into
``model.test_cfg.gate_threshold``.

Example:
    python tools/analysis_tools/solve_gate_threshold.py CONFIG CHECKPOINT \
        --budgets 0.6 0.8 --relative --out gates.json
    python tools/test.py CONFIG CHECKPOINT --cfg-options \
        model.test_cfg.mode=execute model.test_cfg.gate_threshold=0.31
"""

import argparse
import json
import sys
from pathlib import Path

import torch
from mmengine.config import DictAction
from mmengine.runner import Runner

from dynnet.apis import init_model
from dynnet.apis.inference import read_config, scope_of
from dynnet.evaluation.functional import format_table
from dynnet.models.policies import gate_threshold
from dynnet.utils.cli import run_main
from dynnet.utils.errors import ConfigError


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line.

    Args:
        argv: The arguments; None takes those of the process.
    """
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('config', help='config of an AdaFocus with a gate')
    parser.add_argument('checkpoint', help='its checkpoint')
    parser.add_argument(
        '--budgets', nargs='+', type=float, required=True, help='mean MACs per clip'
    )
    parser.add_argument(
        '--relative',
        action='store_true',
        help='budgets are shares of what a clip costs whose frames are all looked at',
    )
    parser.add_argument(
        '--split',
        choices=('train', 'val', 'test'),
        default='val',
        help='held-out clips: those of this loader',
    )
    parser.add_argument('--max-samples', type=int, help='no more clips than this')
    parser.add_argument('--out', metavar='FILE', help='write the table to this .json')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction)
    return parser.parse_args(argv)


@torch.no_grad()
def collect(
    model: torch.nn.Module,
    loader: torch.utils.data.DataLoader,
    number: int | None = None,
) -> torch.Tensor:
    """Gate probabilities (N, T) of the loader's clips: f_G and the policy alone run."""
    probs, seen = [], 0
    for data in loader:
        data = model.data_preprocessor(data, False)
        frames = model.prepare(data['inputs'])
        maps = model.encode_global(frames.flatten(0, 1))
        states = maps.unflatten(0, frames.shape[:2]).transpose(0, 1)
        probs.append(model.run_policy(states).gates.t().cpu())
        seen += len(frames)
        if number is not None and seen >= number:
            break
    return torch.cat(probs)[:number]


def solve(
    model: torch.nn.Module, probs: torch.Tensor, budgets: list[float], relative: bool
) -> list[dict]:
    """A threshold for every budget.

    Args:
        model: Its costs are counted.
        probs: Gate probabilities (N, T).
        budgets: MACs per clip, or shares.
        relative: Whether they are shares.

    Returns:
        Rows with ``budget`` and ``mean_macs`` (MACs per clip), ``threshold`` and
        ``focused`` (share of the frames).
    """
    costs = model.measure_costs()
    glance = costs.glance + costs.policy + costs.head
    rows = []
    for budget in budgets:
        budget = budget * costs.total if relative else budget
        threshold = gate_threshold(probs, budget, glance, costs.focus)
        focused = float((probs >= threshold).double().mean())
        macs = probs.shape[1] * (glance + focused * costs.focus)
        rows.append(
            dict(budget=budget, threshold=threshold, focused=focused, mean_macs=macs)
        )
    return rows


def main(argv: list[str] | None = None) -> list[dict]:
    """Solve.

    Args:
        argv: The arguments; None takes those of the process.

    Returns:
        A row for every budget.

    Raises:
        ConfigError: The model has no gate.
    """
    args = parse_args(argv)
    cfg = read_config(args.config)
    cfg.merge_from_dict(args.cfg_options or {})
    model = init_model(cfg, args.checkpoint)
    if getattr(getattr(model, 'policy', None), 'gate', None) is None:
        raise ConfigError(
            f'{args.config}: {type(model).__name__} has no gate '
            '(model.policy.with_gate=True)'
        )
    with scope_of(cfg):
        loader = Runner.build_dataloader(dict(cfg[f'{args.split}_dataloader']))
    probs = collect(model, loader, args.max_samples)
    rows = solve(model, probs, args.budgets, args.relative)
    header = ['budget (MACs)', 'gate_threshold', 'frames looked at (%)', 'mean MACs']
    cells = [
        [
            f'{row["budget"]:.6g}',
            repr(row['threshold']),
            f'{100 * row["focused"]:.1f}',
            f'{row["mean_macs"]:.6g}',
        ]
        for row in rows
    ]
    print(format_table(header, cells))
    print(f'solved on {len(probs)} clips ({args.split})')
    if args.out:
        report = dict(clips=len(probs), split=args.split, rows=rows)
        Path(args.out).write_text(json.dumps(report, indent=2) + '\n')
    return rows


if __name__ == '__main__':
    sys.exit(run_main(main))
