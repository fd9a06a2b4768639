"""How fast a trained network with gates is: dense, simulated and executed.

Unlike ``spatial_speed.py`` (random masks) this takes a config, its checkpoint and real
pictures (the config's test set, or noise), so that the masks are the trained ones.
*Dense* is the same network without its gates: eager, and with BN folded in
channels_last.

Example:
    python tools/benchmarks/gated_speed.py --config configs/lasnet/CONFIG.py \
        --checkpoint las.pth --batches 1 64 --out speed.json
"""

import copy

import torch
from harness import Case, format_row, make_parser, measure, write
from mmengine.dataset import pseudo_collate
from mmengine.registry import DATASETS
from torch import Tensor, nn

import dynnet  # noqa: F401  (registers dynnet's types and its configs)
from dynnet.apis import init_model
from dynnet.apis.inference import read_config, scope_of
from dynnet.models.gates import GatedBlock, measure_gates, set_execution
from dynnet.ops.sparse_conv import fold_block


class PlainBlock(nn.Module):
    """A gated block without its gate."""

    def __init__(self, block: nn.Module, fold: bool) -> None:
        super().__init__()
        self.block = block
        self.folded = fold_block(block) if fold else None

    def forward(self, x: Tensor) -> Tensor:
        if self.folded is None:
            return torch.relu_(self.block.residual(x) + self.block.identity(x))
        y = self.folded.convs[0].dense(x).relu_()
        y = self.folded.convs[1].dense(y).relu_()
        if hasattr(self.block, 'se'):
            y = self.block.se(y)
        return (self.folded.convs[2].dense(y).add_(self.folded.identity(x))).relu_()


def without_gates(model: nn.Module, fold: bool) -> nn.Module:
    """Copy a model; its gated blocks become plain ones."""
    model = copy.deepcopy(model)
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, GatedBlock):
                setattr(parent, name, PlainBlock(child, fold).eval())
    return model.to(memory_format=torch.channels_last) if fold else model


def pictures(model: nn.Module, number: int) -> Tensor:
    """The first pictures of the config's test set, as the network sees them."""
    with scope_of(model.cfg):
        dataset = DATASETS.build(model.cfg.test_dataloader.dataset)
    batch = pseudo_collate([dataset[i] for i in range(number)])
    return model.data_preprocessor(batch, False)['inputs']


def main() -> None:
    parser = make_parser(__doc__.splitlines()[0])
    parser.add_argument('--config', required=True, help='config of a gated classifier')
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
    args = parser.parse_args()
    cfg = read_config(args.config)
    cfg.model.pop('distillation', None)
    model = init_model(cfg, args.checkpoint, 'cpu')
    set_execution(model, 'simulate')
    execute = copy.deepcopy(model).to(memory_format=torch.channels_last)
    set_execution(execute, 'execute', args.backend)
    dense = {
        'eager': without_gates(model, False),
        'folded, channels_last': without_gates(model, True),
    }
    cases = []
    for batch in args.batches:
        x = torch.randn(batch, *args.noise) if args.noise else pictures(model, batch)
        x_cl = x.contiguous(memory_format=torch.channels_last)
        with torch.inference_mode(), measure_gates() as meter:
            logits = model(x)
        model.count_head(meter)
        with torch.inference_mode():
            torch.testing.assert_close(execute(x_cl), logits, rtol=1e-4, atol=1e-4)
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
                        f'{mode}_b{batch}_vs_{name.split(",")[0]}',
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
