"""Compare a CPU profile's predictions with whole networks that really run.

LASResNets and LASRegNets are built with random weights and execute masks of a given
density; with --config and --checkpoint also a trained network with the masks that its
gates decide on. One thread is timed in CPU time; all cases take turns, so that drift
hits them alike, and each case's two halves of rounds give the noise.

Example:
    python tools/analysis_tools/check_latency.py cpu.json --nets resnet50 resnet101
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from statistics import median

import numpy as np
import torch
from torch import Tensor, nn

import dynnet  # noqa: F401  (registers dynnet's types and its configs)
from dynnet.latency import (
    CPULatencyModel,
    CPUProfile,
    Density,
    estimate,
    load_profile,
    make_masks,
)
from dynnet.latency.describe import describe_model
from dynnet.latency.fitting import rank_correlation
from dynnet.latency.measure import Stopwatch
from dynnet.latency.network import REGNETS, RESNETS
from dynnet.models.gates import GateOutput, measure_gates, set_execution
from dynnet.ops.sparse_conv import unavailable
from dynnet.utils.cli import run_main
from dynnet.utils.errors import ConfigError

NETS = (*(f'resnet{depth}' for depth in RESNETS), *REGNETS)


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line.

    Args:
        argv: The arguments; None takes those of the process.
    """
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('profile', help='JSON file of calibrate_latency.py')
    parser.add_argument('--nets', nargs='*', default=['resnet50'], choices=NETS)
    parser.add_argument(
        '--granularity', nargs='+', default=['4-4-2-1', '1-1-1-1'], metavar='S-S-S-S'
    )
    parser.add_argument('--densities', type=float, nargs='+', default=[0.3, 0.5, 0.7])
    parser.add_argument('--input-size', type=int, default=224, help='of the pictures')
    parser.add_argument('--rounds', type=int, default=5, help='that each case runs')
    parser.add_argument('--seed', type=int, default=0, help='of weights and masks')
    parser.add_argument('--config', help='of a trained network with gates')
    parser.add_argument('--checkpoint', help='its weights')
    parser.add_argument('--batch', type=int, default=8, help='its pictures')
    parser.add_argument('--out', metavar='FILE.json', help='write all cases here')
    return parser.parse_args(argv)


@dataclass
class Case:
    """What is timed, and what is predicted for it.

    Attributes:
        net: Name of the network.
        granularity: S of the stages; ``'dense'`` without gates' effect.
        density: Mean share of active positions of the blocks.
        backend: How its blocks run.
        call: Runs it once.
        predicted: Seconds.
        times: Seconds of each round.
    """

    net: str
    granularity: str
    density: float
    backend: str
    call: Callable[[], object]
    predicted: float
    times: list[float]

    @property
    def seconds(self) -> float:
        """Median of the rounds."""
        return median(self.times)

    @property
    def noise(self) -> float:
        """Relative distance of the medians of odd and even rounds."""
        return abs(median(self.times[::2]) / median(self.times[1::2]) - 1)

    def row(self) -> dict:
        """As it is written."""
        return dict(
            net=self.net,
            granularity=self.granularity,
            density=self.density,
            backend=self.backend,
            ms=1e3 * self.seconds,
            predicted_ms=1e3 * self.predicted,
            error=self.predicted / self.seconds - 1,
            noise=self.noise,
        )


def build_backbone(name: str, sides: tuple[int, ...], seed: int) -> nn.Module:
    """Build a gated backbone with random weights."""
    from dynnet.models.backbones.las_resnet import LASRegNet, LASResNet

    torch.manual_seed(seed)
    if name in REGNETS:
        net = LASRegNet(name, granularity=sides)
    else:
        net = LASResNet(int(name.removeprefix('resnet')), granularity=sides)
    net.eval()  # mmpretrain's returns nothing
    return net


def force_masks(net: nn.Module, density: float, seed: int) -> None:
    """Let the gates work, and put drawn masks in the place of what they decide.

    Args:
        net: Its gates are hooked.
        density: Share of the patches that are active.
        seed: Of the masks.
    """
    drawn: dict = {}
    for k, block in enumerate(net.gated_blocks):

        def hook(gate, inputs, output, k=k):
            coarse = output.coarse
            key = k, coarse.shape
            if key not in drawn:
                n, _, *cells = coarse.shape
                masks = make_masks(n, tuple(cells), density, 'blob', seed + k)
                drawn[key] = torch.from_numpy(masks)[:, None].to(coarse.dtype)
            return GateOutput(drawn[key], output.input_size, output.stride)

        block.gate.register_forward_hook(hook)


def add_cases(
    cases: list[Case],
    net: nn.Module,
    x: Tensor,
    names: tuple[str, str],
    profile: CPUProfile,
) -> None:
    """Add a network on every backend.

    Args:
        cases: They are added here.
        net: A backbone with gates.
        x: Pictures (B, C, H, W).
        names: Of the network and of its granularity.
        profile: The CPU.
    """
    model = CPULatencyModel(profile, len(x))
    spec = describe_model(net, tuple(x.shape[1:]), names[0])
    with torch.inference_mode(), measure_gates() as meter:
        net(x)
    densities = {
        block.name: Density(float(r.gate.mask.mean()), float(r.gate.dilated_density))
        for block, r in zip(spec.blocks, meter.records)
    }
    mean = float(np.mean([d.active for d in densities.values()]))
    for backend in model.backends:
        if unavailable(backend) is not None:
            continue

        def call(backend=backend):
            set_execution(net, 'execute', backend)
            return net(x)

        found = estimate(spec, model, densities, backend)
        cases.append(Case(*names, mean, backend, call, found.latency, []))


def random_cases(args: argparse.Namespace, name: str, profile: CPUProfile) -> list:
    """The cases of a network with random weights, and of the same without gates."""
    side, cases = args.input_size, []
    x = torch.rand(1, 3, side, side)
    for sides, density in product(args.granularity, args.densities):
        numbers = tuple(int(s) for s in sides.split('-'))
        net = build_backbone(name, numbers, args.seed)
        force_masks(net, density, args.seed)
        add_cases(cases, net, x, (name, sides), profile)
    return cases


def trained_cases(args: argparse.Namespace, profile: CPUProfile) -> list[Case]:
    """The cases of a trained network, on pictures of its test set."""
    from mmengine.dataset import pseudo_collate
    from mmengine.registry import DATASETS

    from dynnet.apis import init_model
    from dynnet.apis.inference import read_config, scope_of

    cfg = read_config(args.config)
    model = init_model(cfg, args.checkpoint, device='cpu')
    with scope_of(cfg):
        dataset = DATASETS.build(cfg.test_dataloader.dataset)
    data = pseudo_collate([dataset[i] for i in range(args.batch)])
    x = model.data_preprocessor(data)['inputs']
    net, cases = model.backbone, []
    sides = '-'.join(map(str, net.granularity))
    add_cases(cases, net, x, (Path(args.config).stem, sides), profile)
    return cases


def run(cases: list[Case], rounds: int, watch: Stopwatch) -> None:
    """Time all cases in turns."""
    with torch.inference_mode():
        for case in cases:
            case.call()
        for _ in range(rounds):
            for case in cases:
                start = watch.clock()
                case.call()
                case.times.append(watch.clock() - start)


def summary(cases: list[Case]) -> dict:
    """What the errors come to, and how good the predicted choices are."""
    errors = [abs(c.predicted / c.seconds - 1) for c in cases]
    groups: dict = {}
    for c in cases:
        groups.setdefault((c.net, c.granularity, round(c.density, 3)), []).append(c)
    regrets = [regret(group) for group in groups.values()]
    plain = [[c for c in group if c.backend != 'cpp'] for group in groups.values()]
    wins = [
        tuple(fastest(group, key).backend == 'dense' for key in (predicted, measured))
        for group in plain
    ]
    return dict(
        cases=len(cases),
        median_error=float(np.median(errors)),
        max_error=float(max(errors)),
        noise=float(np.median([c.noise for c in cases])),
        rank=rank_correlation([c.seconds for c in cases], [c.predicted for c in cases]),
        backend_regret=max(regrets),
        backend_regret_without_cpp=max(regret(group) for group in plain),
        dense_wins_without_cpp=sum(m for _, m in wins),
        dense_wins_predicted=sum(p and m for p, m in wins),
        dense_wins_wrongly_predicted=sum(p and not m for p, m in wins),
    )


def predicted(case: Case) -> float:
    """Seconds that are predicted."""
    return case.predicted


def measured(case: Case) -> float:
    """Seconds that were measured."""
    return case.seconds


def fastest(cases: list[Case], key: Callable[[Case], float]) -> Case:
    """The case with the least seconds."""
    return min(cases, key=key)


def regret(cases: list[Case]) -> float:
    """How much slower than the fastest the predicted choice is."""
    return fastest(cases, predicted).seconds / fastest(cases, measured).seconds - 1


def format_cases(cases: list[Case]) -> str:
    """Lay the cases out."""
    lines = [
        f'{"network":24s} {"S":8s} {"r":>5s} {"backend":8s} {"ms":>8s} '
        f'{"predicted":>9s} {"error":>7s} {"noise":>6s}'
    ]
    for c in cases:
        row = c.row()
        lines.append(
            f'{c.net[:24]:24s} {c.granularity:8s} {c.density:5.2f} {c.backend:8s} '
            f'{row["ms"]:8.2f} {row["predicted_ms"]:9.2f} '
            f'{100 * row["error"]:+6.1f}% {100 * row["noise"]:5.1f}%'
        )
    return '\n'.join(lines)


def main(argv: list[str] | None = None) -> None:
    """Build, time, compare and report.

    Args:
        argv: The arguments; None takes those of the process.
    """
    args = parse_args(argv)
    profile = load_profile(args.profile)
    if not isinstance(profile, CPUProfile):
        raise ConfigError(f'{args.profile}: kind={profile.kind!r} cannot be timed here')
    if args.rounds < 2:
        raise ConfigError(f'--rounds {args.rounds}: at least 2, for the noise')
    if not args.nets and not args.config:
        raise ConfigError('nothing to check: give --nets or --config')
    torch.set_num_threads(profile.threads)
    watch = Stopwatch(profile.threads)
    start, results = time.perf_counter(), {}
    jobs = {
        name: lambda name=name: random_cases(args, name, profile) for name in args.nets
    }
    if args.config:
        jobs['trained'] = lambda: trained_cases(args, profile)
    for name, job in jobs.items():
        cases = job()
        run(cases, args.rounds, watch)
        print(format_cases(cases), flush=True)
        results[name] = dict(summary(cases), rows=[c.row() for c in cases])
        print({k: v for k, v in results[name].items() if k != 'rows'}, flush=True)
    if args.out:
        path = Path(args.out)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(results, indent=2) + '\n')
    print(f'{time.perf_counter() - start:.0f} s')


if __name__ == '__main__':
    sys.exit(run_main(main))
