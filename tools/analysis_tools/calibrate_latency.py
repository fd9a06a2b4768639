"""Measure this CPU and write a hardware profile for the latency predictor.

Micro-benchmarks give bandwidths and the speed of a large product; the few free
constants of each backend are fitted to half of the timings of random blocks, and the
other half says how good the fit is. With --nets, whole ResNets are predicted and timed.
One thread is timed in CPU time, which other processes disturb least.

Example:
    python tools/analysis_tools/calibrate_latency.py --out cpu.json --nets
"""

import argparse
import json
import random
import sys
import time
from dataclasses import replace
from datetime import date
from itertools import product
from pathlib import Path
from statistics import median

import numpy as np
import torch

from dynnet.latency import CPULatencyModel, CPUProfile, estimate, resnet_spec
from dynnet.latency.fitting import (
    Timing,
    errors,
    fit_profile,
    noise,
    predict,
    rank_correlation,
)
from dynnet.latency.measure import (
    BACKENDS,
    Stopwatch,
    measure_machine,
    measure_operators,
)
from dynnet.latency.profile import save_profile
from dynnet.latency.runnable import RunnableNetwork
from dynnet.ops.sparse_conv import unavailable
from dynnet.utils.cli import run_main
from dynnet.utils.errors import ConfigError

GRANULARITIES = ((4, 4, 2, 1), (8, 4, 7, 1), (1, 1, 1, 1))
DENSITIES = (0.3, 0.5, 0.7, 1.0)


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line.

    Args:
        argv: The arguments; None takes those of the process.
    """
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--out', required=True, metavar='FILE.json', help='the profile')
    parser.add_argument('--blocks', type=int, default=120, help='random blocks to time')
    parser.add_argument('--threads', type=int, default=1, help='threads of torch')
    parser.add_argument('--seed', type=int, default=0, help='of blocks and the halves')
    parser.add_argument('--nets', action='store_true', help='check on whole ResNets')
    parser.add_argument(
        '--depths', type=int, nargs='+', default=[50, 101], help='their depths'
    )
    parser.add_argument('--input-size', type=int, default=224, help='their pictures')
    parser.add_argument(
        '--report', metavar='FILE.json', help='write all errors here, case by case'
    )
    return parser.parse_args(argv)


def split(groups: list[list[Timing]], seed: int) -> tuple[list[Timing], list[Timing]]:
    """Deal the blocks out to two halves, each with all of its timings.

    Args:
        groups: The timings of each block.
        seed: Of the random order.
    """
    order = list(range(len(groups)))
    random.Random(seed).shuffle(order)
    half = len(order) // 2
    parts = order[:half], order[half:]
    fit, test = ([t for i in part for t in groups[i]] for part in parts)
    return fit, test


def operator_rows(test: list[Timing], profile: CPUProfile) -> list[dict]:
    """Errors of the half that was not fitted, per backend and of all blocks together.

    Args:
        test: The timings.
        profile: The fitted profile.
    """
    names = [name for name in profile.backends if any(t.backend == name for t in test)]
    groups = {name: [t for t in test if t.backend == name] for name in names}
    groups['all blocks'] = [t for t in test if t.backend in BACKENDS and t.density]
    rows = []
    for name, timings in groups.items():
        wrong = np.abs(errors(timings, profile))
        predicted = [predict(t, profile) for t in timings]
        rows.append(
            dict(
                what=name,
                timings=len(timings),
                median_error=float(np.median(wrong)),
                p90_error=float(np.quantile(wrong, 0.9)),
                noise=noise(timings),
                rank=rank_correlation(predicted, [t.seconds for t in timings]),
            )
        )
    return rows


def choices(
    test: list[Timing], profile: CPUProfile, without: tuple[str, ...] = ()
) -> dict:
    """How well the fastest backend is predicted.

    Args:
        test: Timings of blocks on all backends.
        profile: The fitted profile.
        without: Backends that may not be chosen.

    Returns:
        ``regret``, how much slower than the fastest the predicted one is at worst;
        ``blocks`` and ``right``, how many and how many choices of the fastest;
        ``dense_wins`` and ``dense_found``, where computing all is fastest and how often
        that is predicted.
    """
    blocks: dict = {}
    for t in test:
        if t.density is not None and t.backend not in without:
            blocks.setdefault((t.spec, t.batch, t.density), []).append(t)
    found = dict(regret=0.0, blocks=len(blocks), right=0, dense_wins=0, dense_found=0)
    for timings in blocks.values():
        chosen = min(timings, key=lambda t: predict(t, profile))
        best = min(timings, key=lambda t: t.seconds)
        found['regret'] = max(found['regret'], chosen.seconds / best.seconds - 1)
        found['right'] += chosen is best
        found['dense_wins'] += best.backend == 'dense'
        found['dense_found'] += best.backend == chosen.backend == 'dense'
    return found


def check_nets(args: argparse.Namespace, profile: CPUProfile) -> list[dict]:
    """Time and predict whole networks, batch 1, in rounds that take turns.

    Args:
        args: The command line.
        profile: The fitted profile.
    """
    watch = Stopwatch(args.threads, rounds=1, least=0.0)
    size = (args.input_size,) * 2
    model = CPULatencyModel(profile, 1)
    backends = [name for name in BACKENDS if unavailable(name) is None]
    rows = []
    with torch.inference_mode():
        for depth in args.depths:
            calls, found = {}, {}
            for sides, density in product(GRANULARITIES, DENSITIES):
                spec = resnet_spec(depth, sides, size)
                net = RunnableNetwork(spec, 1, density, seed=args.seed)
                for backend in backends:
                    if density != 0.5 and backend == 'dense':
                        continue  # it computes everything anyway
                    key = '-'.join(map(str, sides)), density, backend
                    calls[key] = lambda net=net, backend=backend: net(backend)
                    found[key] = estimate(spec, model, net.densities, backend)
                static = spec.with_granularity(0)
            key = 'static', 1.0, 'dense'
            calls[key] = lambda net=net: net('dense', gated=False)
            found[key] = estimate(static, model, 1.0)
            times = {key: [] for key in calls}
            for _ in range(5):  # A B C ... A B C ...: drift hits all alike
                for key, call in calls.items():
                    times[key].append(watch(call))
            for key, taken in times.items():
                measured, predicted = median(taken), found[key].latency
                rows.append(
                    dict(
                        depth=depth,
                        granularity=key[0],
                        density=key[1],
                        backend=key[2],
                        ms=1e3 * measured,
                        predicted_ms=1e3 * predicted,
                        error=predicted / measured - 1,
                        noise=abs(median(taken[::2]) / median(taken[1::2]) - 1),
                    )
                )
            print(format_nets(rows[-len(calls) :]), flush=True)
    return rows


def format_nets(rows: list[dict]) -> str:
    """Lay networks out as a table."""
    lines = [f'{"network":24s} {"r":>4s} {"backend":8s} {"ms":>8s} {"predicted":>9s}']
    for row in rows:
        name = f'resnet{row["depth"]} {row["granularity"]}'
        lines.append(
            f'{name:24s} {row["density"]:4.1f} {row["backend"]:8s} {row["ms"]:8.2f} '
            f'{row["predicted_ms"]:9.2f} {100 * row["error"]:+6.1f} %'
        )
    return '\n'.join(lines)


def net_summary(rows: list[dict]) -> dict:
    """What the networks' errors come to: see the README's table."""
    measured = [row['ms'] for row in rows]
    predicted = [row['predicted_ms'] for row in rows]
    regret = 0.0
    cases = {(row['depth'], row['density']) for row in rows}
    for depth, density in cases:
        mine = [
            row
            for row in rows
            if row['depth'] == depth
            and (row['density'] == density or row['granularity'] == 'static')
        ]
        chosen = min(mine, key=lambda row: row['predicted_ms'])
        regret = max(regret, chosen['ms'] / min(row['ms'] for row in mine) - 1)
    return dict(
        nets=len(rows),
        median_error=float(np.median([abs(row['error']) for row in rows])),
        max_error=float(max(abs(row['error']) for row in rows)),
        noise=float(np.median([row['noise'] for row in rows])),
        rank=rank_correlation(measured, predicted),
        choice_regret=regret,
    )


def main(argv: list[str] | None = None) -> None:
    """Measure, fit, report and write the profile.

    Args:
        argv: The arguments; None takes those of the process.
    """
    args = parse_args(argv)
    if args.blocks < 4:
        raise ConfigError(f'--blocks {args.blocks}: at least 4')
    start = time.perf_counter()
    torch.set_num_threads(args.threads)
    watch = Stopwatch(args.threads)
    profile = measure_machine(watch)
    groups = []
    for timings in measure_operators(args.blocks, watch, args.seed):
        groups.append(timings)
        if len(groups) % 20 == 0:
            print(f'{len(groups)} of {args.blocks} blocks', flush=True)
    fit, test = split(groups, args.seed)
    profile = fit_profile(profile, fit)
    rows = operator_rows(test, profile)
    for row in rows:
        print(
            f'{row["what"]:12s} {row["timings"]:4d} timings: median error '
            f'{100 * row["median_error"]:5.1f} %, 90 % below '
            f'{100 * row["p90_error"]:5.1f} %, noise {100 * row["noise"]:4.1f} %, '
            f'rank correlation {row["rank"]:.3f}'
        )
    picks = {'all': choices(test, profile), 'no cpp': choices(test, profile, ('cpp',))}
    for name, pick in picks.items():
        print(
            f'backend ({name}): {pick["right"]} of {pick["blocks"]} choices right, at '
            f'most {100 * pick["regret"]:.1f} % above the best; dense is the fastest '
            f'{pick["dense_wins"]} times, {pick["dense_found"]} of them predicted'
        )
    calibration = dict(
        date=date.today().isoformat(),
        torch=torch.__version__,
        threads=args.threads,
        clock='process CPU time' if args.threads == 1 else 'wall clock',
        blocks=len(groups),
        seed=args.seed,
        operators=rows,
        choices=picks,
    )
    report = dict(calibration)
    profile = replace(
        profile,
        source='tools/analysis_tools/calibrate_latency.py',
        calibration=calibration,
    )
    if args.nets:
        nets = check_nets(args, profile)
        calibration['nets'] = net_summary(nets)
        report.update(nets=calibration['nets'], net_rows=nets)
        print(json.dumps(calibration['nets']))
    save_profile(profile, args.out)
    if args.report:
        path = Path(args.report)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(report, indent=2) + '\n')
    print(f'{args.out} written after {time.perf_counter() - start:.0f} s')


if __name__ == '__main__':
    sys.exit(run_main(main))
