"""How fast a trained network with gates is: dense, simulated and executed.

Unlike ``spatial_speed.py`` (random masks) this takes a config, its checkpoint and real
pictures (the config's test set, or noise), so that the masks are the trained ones.
*Dense* is the same network without its gates: eager; with BN folded in channels_last;
and with oneDNN's prepacked fused convolutions besides.

A detector is timed as a whole or, with ``--backbone``, without neck and heads.

Example:
    python tools/benchmarks/gated_speed.py --config configs/lasnet/CONFIG.py \
        --checkpoint las.pth --batches 1 64 --out speed.json
"""

import copy

import torch
import torch.nn.functional as F
from harness import Case, format_row, make_parser, measure, write
from mmengine.dataset import pseudo_collate
from mmengine.registry import DATASETS
from spatial_nets import prepacked
from torch import Tensor, nn

import dynnet  # noqa: F401  (registers dynnet's types and its configs)
from dynnet.apis import init_model
from dynnet.apis.inference import read_config, scope_of
from dynnet.models.gates import GatedBlock, measure_gates, set_execution
from dynnet.ops.sparse_conv import fold_block

FORMS = ('eager', 'folded', 'prepacked')


class PlainBlock(nn.Module):
    """A gated block without its gate, in one of the dense forms."""

    mode = 'simulate'  # nothing is skipped

    def __init__(self, block: nn.Module, form: str) -> None:
        super().__init__()
        self.block, self.form = block, form
        self.folded = None if form == 'eager' else fold_block(block)

    def forward(self, x: Tensor) -> Tensor:
        if self.folded is None:
            return torch.relu_(self.block.residual(x) + self.block.identity(x))
        *convs, last = self.folded.convs
        se = getattr(self.block, 'se', None)
        if self.form == 'folded':
            y = x
            for conv in convs:
                y = conv.dense(y).relu_()
            y = last.dense(y if se is None else se(y))
            return y.add_(self.folded.identity(x)).relu_()
        y, shortcut = x, self.folded.shortcut
        for conv in convs:
            y = prepacked(conv, y, True)
        identity = x if shortcut is None else prepacked(shortcut, x, False)
        return prepacked(last, y if se is None else se(y), True, identity)


def without_gates(model: nn.Module, form: str) -> nn.Module:
    """Copy a model; its gated blocks become plain ones."""
    model = copy.deepcopy(model)
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, GatedBlock):
                setattr(parent, name, PlainBlock(child, form).eval())
    return model if form == 'eager' else model.to(memory_format=torch.channels_last)


def pictures(model: nn.Module, number: int) -> Tensor:
    """The first pictures of the config's test set, as the network sees them."""
    with scope_of(model.cfg):
        dataset = DATASETS.build(model.cfg.test_dataloader.dataset)
    batch = pseudo_collate([dataset[i] for i in range(number)])
    return model.data_preprocessor(batch, False)['inputs']


def compare(ours: object, theirs: object) -> None:
    """Refuse to time something that is wrong."""
    if isinstance(ours, Tensor):
        error = float((ours - theirs).abs().max() / theirs.abs().max())
        if not error < 1e-4:
            raise RuntimeError(f'execute and simulate differ by {error:.1e}')
    else:
        for pair in zip(ours, theirs):
            compare(*pair)


def main() -> None:
    parser = make_parser(__doc__.splitlines()[0])
    parser.add_argument('--config', required=True, help='config with a gated backbone')
    parser.add_argument('--checkpoint', help='its checkpoint')
    parser.add_argument('--batches', nargs='+', type=int, default=[1, 64])
    parser.add_argument('--backend', default='auto', help='backend of the execution')
    parser.add_argument(
        '--noise',
        nargs=3,
        type=int,
        metavar=('C', 'H', 'W'),
        help='noise of this shape in the place of the test set',
    )
    parser.add_argument(
        '--size', nargs=2, type=int, metavar=('H', 'W'), help='resize the pictures'
    )
    parser.add_argument(
        '--backbone', action='store_true', help='time the backbone alone'
    )
    args = parser.parse_args()
    cfg = read_config(args.config)
    cfg.model.pop('distillation', None)
    whole = init_model(cfg, args.checkpoint, 'cpu')
    model = whole.backbone if args.backbone else whole
    set_execution(model, 'simulate')
    execute = copy.deepcopy(model).to(memory_format=torch.channels_last)
    set_execution(execute, 'execute', args.backend)
    dense = {form: without_gates(model, form) for form in FORMS}
    cases = []
    for batch in args.batches:
        x = torch.randn(batch, *args.noise) if args.noise else pictures(whole, batch)
        if args.size:
            x = F.interpolate(x, args.size, mode='bilinear', antialias=True)
        x_cl = x.contiguous(memory_format=torch.channels_last)
        with torch.inference_mode(), measure_gates() as meter:
            expected = model(x)
        if model is whole and hasattr(whole, 'count_head'):
            whole.count_head(meter)
        with torch.inference_mode():
            compare(execute(x_cl), expected)
        extra = dict(
            macs_ratio=float(meter.macs) / meter.dense_macs,
            density=float(meter.densities.mean()),
        )
        modes = dict(simulate=(model, x), execute=(execute, x_cl))
        for name, net in dense.items():
            y = x if name == 'eager' else x_cl
            for mode, (candidate, z) in modes.items():
                cases.append(
                    Case(
                        f'{mode}_b{batch}_vs_{name}',
                        batch,
                        lambda candidate=candidate, z=z: candidate(z),
                        lambda net=net, y=y: net(y),
                        f'dense: {name}',
                        None,
                        extra,
                    )
                )
    rows = []  # no row has a bar: --quick means fewer rounds alone
    with torch.inference_mode():
        for case in cases:
            if not args.only or args.only in case.id:
                rows.append(measure(case, 5 if args.quick else 9, args.threads))
                print(format_row(rows[-1]), flush=True)
    write(rows, args.out, 'tools/benchmarks/gated_speed.py')


if __name__ == '__main__':
    main()
