"""Interleaved timing of candidates against baselines, one format for all benchmarks.

A *case* times a candidate and its baseline in turn (A B A B ...) in this process. Its
``ratio`` is the median of the per-round ratios of wall-clock time at the asked number
of threads, ``cpu_ratio_1t`` that of CPU time at one thread; a bar (an upper limit)
holds if either meets it. The baseline is also timed against itself: where the
inter-quartile range of that ratio is wider than half the distance of the bar from 1,
nothing can be said and ``holds`` is null.
"""

import argparse
import json
import platform
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from statistics import median, quantiles

import torch

Call = Callable[[], object]
Clock = Callable[[], float]


class SelfTimed:
    """A part that is timed in pieces: the time between them does not count.

    Args:
        run: Called with a clock; returns the seconds that count.
    """

    def __init__(self, run: Callable[[Clock], float]) -> None:
        self.run = run


@dataclass
class Case:
    """A candidate, its baseline, and what is known of them.

    Attributes:
        id: Name of the row.
        batch: Batch size.
        candidate: Runs the candidate once, or is :class:`SelfTimed`.
        baseline: Runs the baseline once, or is :class:`SelfTimed`.
        baseline_name: What the baseline is, in words.
        bar: Upper limit of the ratio, or None.
        extra: More fields of the row (format, bn_folded, ...).
        repeats: Calls per timing; None: so many that one timing takes 50 ms.
    """

    id: str
    batch: int
    candidate: Call | SelfTimed
    baseline: Call | SelfTimed
    baseline_name: str
    bar: float | None = None
    extra: dict = field(default_factory=dict)
    repeats: int | None = None


def make_parser(description: str) -> argparse.ArgumentParser:
    """Return a parser with the options that all benchmarks share."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument('--out', required=True, help='JSON file to write')
    parser.add_argument(
        '--quick', action='store_true', help='only rows with a bar, 5 rounds'
    )
    parser.add_argument('--threads', type=int, default=2, help='threads of wall times')
    parser.add_argument('--only', help='only the rows whose id contains this')
    return parser


def measure(case: Case, rounds: int, threads: int) -> dict:
    """Time one case and return its row."""
    wall, wall_self = _rounds(case, rounds, threads, time.perf_counter)
    cpu, _ = _rounds(case, rounds, 1, time.process_time)
    ratio = median(a / b for a, b in wall)
    cpu_ratio = median(a / b for a, b in cpu)
    row = dict(
        id=case.id,
        batch=case.batch,
        threads=threads,
        ms=1e3 * median(a for a, _ in wall),
        cpu_ms=1e3 * median(a for a, _ in cpu),
        baseline=case.baseline_name,
        baseline_ms=1e3 * median(b for _, b in wall),
        ratio=ratio,
        cpu_ratio_1t=cpu_ratio,
        noise_iqr=_iqr(wall_self),
        bar=case.bar,
        holds=None,
        **case.extra,
    )
    if case.bar is not None:
        met = min(ratio, cpu_ratio) <= case.bar
        decided = row['noise_iqr'] <= abs(1 - case.bar) / 2
        row['holds'] = met if decided else None
    return row


def _rounds(
    case: Case, rounds: int, threads: int, clock: Clock
) -> tuple[list[tuple[float, float]], list[float]]:
    """Return per-round times of (candidate, baseline) and baseline-to-itself ratios."""
    torch.set_num_threads(threads)
    for call in (case.candidate, case.baseline):
        _time(call, 2, clock)
    seconds = _time(case.baseline, 1, time.perf_counter)
    repeats = case.repeats or max(1, round(0.05 / seconds))
    pairs, selves = [], []
    for _ in range(rounds):
        a = _time(case.candidate, repeats, clock)
        b = _time(case.baseline, repeats, clock)
        again = _time(case.baseline, repeats, clock)
        pairs.append((a, b))
        selves.append(again / b)
    return pairs, selves


def _time(call: Call | SelfTimed, repeats: int, clock: Clock) -> float:
    if isinstance(call, SelfTimed):
        return sum(call.run(clock) for _ in range(repeats)) / repeats
    start = clock()
    for _ in range(repeats):
        call()
    return (clock() - start) / repeats


def _iqr(values: list[float]) -> float:
    low, _, high = quantiles(values, n=4)
    return high - low


def run(cases: list[Case], args: argparse.Namespace, script: str) -> list[dict]:
    """Measure all cases, print a table and write the JSON file."""
    if args.quick:
        cases = [case for case in cases if case.bar is not None]
    if args.only:
        cases = [case for case in cases if args.only in case.id]
    rows = []
    print(f'{"id":44s} {"ms":>9s} {"baseline":>9s} {"ratio":>7s} {"cpu 1t":>7s}    bar')
    with torch.inference_mode():
        for case in cases:
            rows.append(measure(case, 5 if args.quick else 9, args.threads))
            print(format_row(rows[-1]), flush=True)
    write(rows, args.out, script)
    return rows


def format_row(row: dict) -> str:
    """Return one line of the printed table."""
    bar = '' if row['bar'] is None else f'{row["bar"]:.2f}'
    verdict = (
        ''
        if row['bar'] is None
        else {
            True: 'holds',
            False: 'MISSED',
            None: 'undecided',
        }[row['holds']]
    )
    return (
        f'{row["id"]:44s} {row["ms"]:9.3f} {row["baseline_ms"]:9.3f} '
        f'{row["ratio"]:7.3f} {row["cpu_ratio_1t"]:7.3f} {bar:>6s} {verdict}'
    )


def write(rows: list[dict], path: str, script: str) -> None:
    """Write rows with the facts of the machine."""
    report = dict(
        script=script,
        commit=_commit(),
        date=date.today().isoformat(),
        cpu=_cpu(),
        torch=torch.__version__,
        rows=rows,
    )
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(json.dumps(report, indent=2) + '\n')


def _commit() -> str:
    git = ['git', '-C', str(Path(__file__).parent), 'describe', '--always', '--dirty']
    try:
        return subprocess.run(git, capture_output=True, text=True).stdout.strip()
    except OSError:
        return ''


def _cpu() -> str:
    try:
        for line in Path('/proc/cpuinfo').read_text().splitlines():
            if line.startswith('model name'):
                return line.split(':', 1)[1].strip()
    except OSError:
        pass
    return platform.processor()
