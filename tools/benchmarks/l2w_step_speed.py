"""Time a training batch of L2W-DEN against a plain step and the double-backward form.

On MSDNet for CIFAR-100, 5 blocks. A loader batch is two halves: two SGD steps and, in
the L2W forms, two steps of the weight prediction network.

* ``l2w_c100_nb5_*``: our batch against the double-backward form, a plain port.
* ``l2w_pruned_*``: our batch against that form, asked for the WPN's gradients alone.
* ``l2w_vs_plain_*``: our batch against one plain multi-exit step on the same pictures.

Before timing, the double-backward form and ours are checked to leave equal weights in
float64. ``peak_mb`` is by how much the resident set of a fresh process grows over three
batches of ours, ``baseline_peak_mb`` the same of the baseline.

Example:
    python tools/benchmarks/l2w_step_speed.py --out l2w.json
"""

import argparse
import copy
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from double_backward import double_backward_batch
from harness import Case, make_parser, run
from mmengine.optim import OptimWrapper, OptimWrapperDict
from mmengine.registry import init_default_scope
from torch import nn

import dynnet  # noqa: F401
from dynnet.registry import MODELS, OPTIM_WRAPPER_CONSTRUCTORS

CLASSES = 100
NAME = 'msdnet_c100_nb5'
SGD = dict(type='SGD', lr=0.1, momentum=0.9, weight_decay=1e-4)
FORMS = {
    'l2w': 'our batch',
    'double': 'double-backward form: through the pseudo step, two forwards per half',
    'pruned': "the same, asked for the WPN's gradients alone",
    'plain': 'one plain multi-exit step on the whole batch',
}


def build(kind: str = 'L2WClassifier') -> nn.Module:
    """The network of the paper's CIFAR-100 recipe, in training mode."""
    init_default_scope('mmpretrain')
    torch.manual_seed(0)
    model = MODELS.build(
        dict(
            type=f'dynnet.{kind}',
            backbone=dict(type='dynnet.MSDNet', num_blocks=5, step_mode='lin_grow'),
            head=dict(
                type='dynnet.MultiExitHead',
                num_classes=CLASSES,
                exit=dict(type='dynnet.ConvExit', channels=128, init='torch'),
            ),
        )
    )
    return model.train()


def optimizers(model: nn.Module) -> OptimWrapperDict:
    """Both optimizers with the published settings, but a learning rate for batch 64."""
    adam = dict(type='Adam', lr=1e-4, weight_decay=1e-4)
    parts = dict(model=dict(optimizer=SGD), wpn=dict(optimizer=adam))
    constructor = dict(
        type='dynnet.SplitOptimWrapperConstructor', optim_wrapper_cfg=parts
    )
    return OPTIM_WRAPPER_CONSTRUCTORS.build(constructor)(model)


def pictures(batch: int, dtype: torch.dtype = torch.float32) -> tuple:
    """Pictures and labels, the same at every call."""
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(batch, 3, 32, 32, generator=generator).to(dtype)
    return x, torch.randint(CLASSES, (batch,), generator=generator)


def make_form(form: str, batch: int) -> Callable[[], None]:
    """Return what trains on one batch in a form, with a model of its own."""
    model = build('MultiExitClassifier' if form == 'plain' else 'L2WClassifier')
    x, y = pictures(batch)
    if form == 'plain':
        optimizer = torch.optim.SGD(
            model.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4
        )
        wrapper = OptimWrapper(optimizer)

        def plain() -> None:
            losses = [
                model.head.loss_module(logits, y)
                for logits in model.head(model.backbone(x))
            ]
            wrapper.update_params(sum(losses))

        return training(plain)
    halves = list(zip(x.chunk(2), y.chunk(2)))
    wrappers = optimizers(model)
    if form == 'l2w':

        def ours() -> None:
            for train, meta in (halves, halves[::-1]):
                model.half_step(train, meta, wrappers)

        return training(ours)
    parts = (wrappers['model'].optimizer, wrappers['wpn'].optimizer)
    return training(
        partial(double_backward_batch, model, halves, *parts, form == 'pruned')
    )


def training(call: Callable[[], None]) -> Callable[[], None]:
    """Run with gradients on: the harness turns them off for all cases."""

    def train() -> None:
        with torch.inference_mode(False), torch.enable_grad():
            call()

    return train


def check() -> None:
    """Both forms must leave the same weights.

    Raises:
        RuntimeError: They do not.
    """
    ours = build().double()
    theirs = copy.deepcopy(ours)
    x, y = pictures(8, torch.float64)
    halves = list(zip(x.chunk(2), y.chunk(2)))
    wrappers, others = optimizers(ours), optimizers(theirs)
    for train, meta in (halves, halves[::-1]):
        ours.half_step(train, meta, wrappers)
    double_backward_batch(
        theirs, halves, others['model'].optimizer, others['wpn'].optimizer
    )
    pairs = zip(ours.state_dict().items(), theirs.state_dict().values())
    if not all(torch.allclose(a, b, rtol=1e-6, atol=1e-9) for (_, a), b in pairs):
        raise RuntimeError('the double-backward form does not leave our weights')


def resident_mb(peak: bool) -> float:
    """This process's resident set in MB, now or at its largest."""
    if peak:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    pages = int(Path('/proc/self/statm').read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def measure_peak(form: str, batch: int, threads: int) -> None:
    """Print by how much three batches make this fresh process grow."""
    torch.set_num_threads(threads)
    call = make_form(form, batch)
    before = resident_mb(peak=False)
    for _ in range(3):
        call()
    print(json.dumps(resident_mb(peak=True) - before))


def peak_mb(form: str, batch: int, threads: int) -> float:
    """Measure a form's growth in a process of its own."""
    command = [sys.executable, '-W', 'ignore', __file__, '--out', '-']
    command += ['--peak', form, str(batch), '--threads', str(threads)]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return float(output.splitlines()[-1])


def make_cases(args: argparse.Namespace) -> list[Case]:
    """All comparisons, those with a bar first."""
    wanted = [
        (f'l2w_{NAME.removeprefix("msdnet_")}_b64', 64, 'double', 0.68),
        (f'l2w_{NAME.removeprefix("msdnet_")}_b128', 128, 'double', 0.68),
        ('l2w_vs_plain_b64', 64, 'plain', 4.0),
        ('l2w_vs_plain_b128', 128, 'plain', None),
        ('l2w_pruned_b64', 64, 'pruned', None),
    ]
    cases, forms, peaks = [], {}, {}
    for name, batch, baseline, bar in wanted:
        if (args.only and args.only not in name) or (args.quick and bar is None):
            continue
        for form in ('l2w', baseline):
            if (form, batch) not in forms:
                forms[form, batch] = make_form(form, batch)
                peaks[form, batch] = peak_mb(form, batch, args.threads)
        extra = dict(
            net=NAME,
            format='NCHW',
            peak_mb=peaks['l2w', batch],
            baseline_peak_mb=peaks[baseline, batch],
        )
        cases.append(
            Case(
                name,
                batch,
                forms['l2w', batch],
                forms[baseline, batch],
                FORMS[baseline],
                bar,
                extra,
                repeats=1,
            )
        )
    return cases


def main() -> None:
    """Check the forms against each other and measure them."""
    parser = make_parser(__doc__.splitlines()[0])
    parser.add_argument('--peak', nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.peak:
        measure_peak(args.peak[0], int(args.peak[1]), args.threads)
        return
    start = time.perf_counter()
    check()
    rows = run(make_cases(args), args, 'l2w_step_speed.py')
    for row in rows:
        print(
            f'{row["id"]:24s} peak memory {row["peak_mb"]:.0f} MB, baseline '
            f'{row["baseline_peak_mb"]:.0f} MB'
        )
    print(f'{time.perf_counter() - start:.0f} s, {args.out}')


if __name__ == '__main__':
    main()
