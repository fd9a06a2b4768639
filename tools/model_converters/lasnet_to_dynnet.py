"""Convert LASNet's, LAUDNet's or torchvision's weights, strictly.

Every key has to find its place. With ``--dense`` the file has no gates (a torchvision
ResNet or RegNetY): the result is what the fine-tuning configs start from and are taught
by.

Example:
    python tools/model_converters/lasnet_to_dynnet.py resnet50.pth \
        checkpoints/resnet50_in1k.pth --config configs/lasnet/CONFIG.py --dense
"""

import argparse
import sys

from mmengine.config import Config

import dynnet  # noqa: F401  (registers dynnet's types and its configs)
from dynnet.apis.inference import read_config, scope_of
from dynnet.registry import MODELS
from dynnet.utils.cli import run_main
from dynnet.utils.conversion import convert_checkpoint
from dynnet.utils.lasnet_conversion import convert_dense, lasnet_keys


def build(cfg: Config):
    """Build the config's model."""
    with scope_of(cfg):
        return MODELS.build(cfg.model)


def main(argv: list[str] | None = None) -> None:
    """Run the tool.

    Args:
        argv: The arguments; None takes those of the process.
    """
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('source', help='published checkpoint')
    parser.add_argument('target', help='converted checkpoint to write')
    parser.add_argument('--config', required=True, help='config of the same network')
    parser.add_argument(
        '--dense', action='store_true', help='the file has no gates (torchvision)'
    )
    args = parser.parse_args(argv)
    cfg = read_config(args.config)
    if args.dense:
        done = convert_dense(args.source, args.target, build(cfg).state_dict())
    else:
        done = convert_checkpoint(args.source, args.target, cfg, lasnet_keys)
    print(f'{args.target}: {len(done.state_dict)} tensors, none missing, none unused')
    if done.left_out:
        print(f'not converted: {", ".join(done.left_out)}')


if __name__ == '__main__':
    sys.exit(run_main(main))
