"""Count what every exit of a config's model costs.

Example:
    python tools/analysis_tools/get_flops.py configs/ranet/CONFIG.py
"""

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path

from mmengine.config import Config, DictAction

import dynnet  # noqa: F401  (registers dynnet's types and its configs)
from dynnet.apis import init_model
from dynnet.apis.inference import read_config
from dynnet.utils.cli import run_main
from dynnet.utils.cost import ExitCosts, count_exit_costs
from dynnet.utils.errors import ConfigError


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line.

    Args:
        argv: The arguments; None takes those of the process.
    """
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('config', help='config file of a multi-exit classifier')
    parser.add_argument(
        '--shape',
        nargs=3,
        type=int,
        metavar=('C', 'H', 'W'),
        help="size of the picture; default: what the config's test transform crops",
    )
    parser.add_argument('--out', metavar='FILE.json', help='write the counts here')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        metavar='KEY=VALUE',
        help='settings that replace those of the config',
    )
    return parser.parse_args(argv)


def find_shape(cfg: Config) -> tuple[int, int, int]:
    """Tell the size of the pictures that a config tests on.

    Args:
        cfg: The config.

    Returns:
        (C, H, W).

    Raises:
        ConfigError: It does not follow from the test transform.
    """
    dataset = cfg.get('test_dataloader', {}).get('dataset', {})
    sizes = [t.crop_size for t in dataset.get('pipeline', []) if 'crop_size' in t]
    if not sizes and str(dataset.get('type')).startswith('CIFAR'):
        sizes = [32]
    if not sizes or not isinstance(sizes[-1], int):
        raise ConfigError(
            f'{cfg.filename}: the size of the pictures does not follow from the test '
            'transform; give it as --shape C H W'
        )
    channels = cfg.model.backbone.get('in_channels', 3)
    return channels, sizes[-1], sizes[-1]


def count(args: argparse.Namespace) -> ExitCosts:
    """Build the config's model and count.

    Args:
        args: What :func:`parse_args` returned.

    Returns:
        The costs.

    Raises:
        ConfigError: The config is missing or describes no multi-exit classifier.
    """
    cfg = read_config(args.config)
    cfg.merge_from_dict(args.cfg_options or {})
    shape = args.shape or find_shape(cfg)
    model = init_model(cfg, device='cpu')
    if not hasattr(getattr(model, 'backbone', None), 'iter_exits'):
        raise ConfigError(
            f'{args.config}: {type(model).__name__} has no multi-exit backbone'
        )
    return count_exit_costs(model, tuple(shape))


def format_costs(costs: ExitCosts) -> str:
    """Lay the costs out as a table.

    Args:
        costs: The costs.

    Returns:
        The table and what is to be said about it.
    """
    lines = [
        f'input {" x ".join(map(str, costs.input_shape))}; cumulative per picture',
        f'{"exit":>4} {"MACs (M)":>10} {"of all":>7} {"published FLOPs (M)":>20} '
        f'{"parameters (M)":>15}',
    ]
    rows = zip(costs.macs, costs.published_flops, costs.params)
    for k, (macs, flops, params) in enumerate(rows, start=1):
        share = f'{100 * macs / costs.macs[-1]:.1f}%'
        lines.append(
            f'{k:>4} {macs / 1e6:>10.3f} {share:>7} {flops / 1e6:>20.3f} '
            f'{params / 1e6:>15.3f}'
        )
    if costs.uncounted:
        lines.append(f'not counted: {", ".join(costs.uncounted)}')
    else:
        lines.append('every module that ran was counted')
    return '\n'.join(lines)


def main(argv: list[str] | None = None) -> None:
    """Count and print.

    Args:
        argv: The arguments; None takes those of the process.
    """
    args = parse_args(argv)
    costs = count(args)
    print(format_costs(costs))
    if args.out:
        path = Path(args.out)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(asdict(costs), indent=2) + '\n')


if __name__ == '__main__':
    sys.exit(run_main(main))
