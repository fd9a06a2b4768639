"""How fast masked residual blocks are when only what is active is computed.

ResNets with random weights and smooth random masks (a share r of the cells of every
block, exactly; LASNet's S per stage), at 224 x 224 unless said otherwise. Gates and
index building are part of every sparse row. The baseline *best dense* is the fastest,
measured first, of BN-folded channels_last, oneDNN's prepacked fused convolutions and,
without ``--quick``, inductor with frozen weights; it runs no gates.

Rows: ``NET_S_mMM_bB_BACKEND`` whole nets at MM per cent of the MACs, ``full`` with all
cells active; ``maskrcnn_*`` a detector's backbone at 800 x 1216; ``block_*`` single
bottlenecks of ResNet-101. In rows ``*_fusedgate`` the gate is one C++ pass (opt-in),
else pooling, convolution and comparison by PyTorch.
"""

import ctypes
import gc
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import torch
from harness import Case, format_row, make_parser, measure, write
from spatial_nets import (
    BenchBlock,
    BenchNet,
    dense_folded,
    dense_masked,
    dense_prepacked,
)

from dynnet.ops.sparse_conv import library, unavailable

FOLDED = dict(format='channels_last', bn_folded=True, prepacked=False)
PACKED = dict(format='channels_last', bn_folded=True, prepacked=True)


def best_of(calls: dict, threads: int) -> tuple[str, Callable[[], object]]:
    """Find the fastest call, for each number of threads that the harness uses.

    Returns:
        Its name, and a call that runs the fastest for the number of threads in force.
    """
    best = {}
    for count in (1, threads):
        torch.set_num_threads(count)
        clock = time.process_time if count == 1 else time.perf_counter
        times = {name: [] for name in calls}
        for _ in range(7):
            for name, call in calls.items():
                start = clock()
                call()
                times[name].append(clock() - start)
        best[count] = min(times, key=lambda name: sorted(times[name][2:])[2])
    name = best[threads]
    if best[1] != name:
        name += f' (1 thread: {best[1]})'
    return f'best dense: {name}', lambda: calls[best[torch.get_num_threads()]]()


def peak_mb(call) -> float | None:
    """Return how far the process grows while ``call`` runs, in MiB (Linux).

    The smallest of five: an allocator may keep pages of what ran before.
    """
    try:
        return min(_growth(call) for _ in range(5))
    except (OSError, AttributeError):
        return None


def _growth(call) -> float:
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    Path('/proc/self/clear_refs').write_text('5')
    before = _status('VmRSS')
    result = call()
    growth = _status('VmHWM') - before
    del result
    return growth


def _status(key: str) -> float:
    for line in Path('/proc/self/status').read_text().splitlines():
        if line.startswith(key):
            return int(line.split()[1]) / 1024
    raise OSError(f'no {key}')


def close(candidate, reference) -> None:
    """Refuse to time something that is wrong."""
    pairs = zip(candidate, reference) if isinstance(candidate, list) else None
    for a, b in pairs or [(candidate, reference)]:
        error = float((a - b).abs().max() / b.abs().max())
        if not error < 1e-4:
            raise RuntimeError(f'sparse and masked dense differ by {error:.1e}')


def net_cases(args, wanted) -> Iterator[Case]:
    """Whole nets, one in memory at a time."""
    bars = {
        ('r101_4421', 0.4, 1, 'cpp'): 0.55,
        ('r101_4421', 0.4, 8, 'cpp'): 0.54,
        ('r101_4421', 1.0, 1, 'cpp'): 1.05,
        ('r101_4421', 0.4, 1, 'torch'): 0.90,
        ('r101_4421', 0.4, 1, 'mkldnn'): 0.75,
    }
    specs = [(101, '4421', 0.4, 1), (101, '4421', 0.4, 8), (101, '4421', 1.0, 1)]
    if not args.quick:
        specs += [(101, '4421', 1.0, 8), (101, '8471', 0.4, 1), (101, '8471', 0.4, 8)]
        specs += [(50, s, 0.4, b) for s in ('4421', '8471') for b in (1, 8)]
        specs += [(101, '1111', 0.4, 1), (101, '4421', 0.5, 1), (101, '4421', 0.6, 1)]
    for depth, name, rate, batch in specs:
        base = f'r{depth}_{name}'
        ids = {
            (backend, fused): _id(base, rate, batch, backend, fused)
            for backend in ('cpp', 'mkldnn', 'torch')
            for fused in (False, True)
        }
        if not any(map(wanted, [*ids.values(), f'{base}_b{batch}_lasresnet'])):
            continue
        net = BenchNet(depth, tuple(map(int, name)), rate, batch)
        dense = dict(folded=net.folded, prepacked=net.prepacked)
        if not args.quick and batch == 1 and name == '4421':
            dense['inductor'] = net.inductor()
        best_name, best = best_of(dense, args.threads)
        reference = net.masked()
        for (backend, fused), id in ids.items():
            if unavailable(backend) or (fused and backend != 'cpp') or not wanted(id):
                continue
            call = partial(net.sparse, backend, fused)
            close(call(), reference)
            bar = bars.get((base, rate, batch, backend))
            if not fused and backend != 'cpp' and batch != 1:
                continue
            folded = backend in ('torch', 'mkldnn')
            extra = dict(
                PACKED if backend != 'torch' else FOLDED,
                macs_ratio=net.macs_ratio,
                gate='fused' if fused else 'torch',
            )
            yield Case(
                id,
                batch,
                call,
                net.folded if folded else best,
                'dense: folded, channels_last' if folded else best_name,
                bar,
                extra,
            )
        if not args.quick and rate == 0.4:
            execute = net.lasnet('execute')
            close(execute(), reference)
            for name_, baseline, words in (
                ('dense', best, best_name),
                ('simulate', net.lasnet('simulate'), 'LASResNet, simulate'),
            ):
                id = f'{base}_b{batch}_lasresnet_execute_vs_{name_}'
                if wanted(id):
                    yield Case(id, batch, execute, baseline, words, None, dict(FOLDED))
        if not args.quick and rate == 0.4:
            call = partial(net.sparse, 'cpp', True)
            for name_, baseline in (('eager', net.eager), ('masked', net.masked)):
                id = f'{ids["cpp", True]}_vs_{name_}'
                if wanted(id) and not unavailable('cpp'):
                    words = 'untouched model, NCHW' if name_ == 'eager' else name_
                    extra = dict(PACKED, macs_ratio=net.macs_ratio)
                    yield Case(id, batch, call, baseline, words, None, extra)


def _id(base: str, rate: float, batch: int, backend: str, fused: bool) -> str:
    share = {0.4: 'm49', 1.0: 'full'}.get(rate, f'r{round(100 * rate)}')
    if base != 'r101_4421' and rate == 0.4:
        share = 'r40'
    return f'{base}_{share}_b{batch}_{backend}' + ('_fusedgate' if fused else '')


def detector_cases(args, wanted) -> Iterator[Case]:
    """The backbone of a detector: all stages' maps are kept."""
    id = 'maskrcnn_r101_backbone_m49_b1_cpp'
    if not (wanted(id) or wanted(f'{id}_fusedgate')) or unavailable('cpp'):
        return
    net = BenchNet(101, (4, 4, 2, 1), 0.4, 1, (800, 1216), head=False)
    dense = dict(folded=net.folded, prepacked=net.prepacked)
    best_name, best = best_of(dense, args.threads)
    close(net.sparse('cpp'), net.masked())
    memory = {name: peak_mb(call) for name, call in dense.items()}
    for fused in (False, True):
        call = partial(net.sparse, 'cpp', fused)
        extra = dict(
            PACKED,
            macs_ratio=net.macs_ratio,
            gate='fused' if fused else 'torch',
            peak_mb=peak_mb(call),
            baseline_peak_mb=min(memory.values()),
            dense_peak_mb=memory,
        )
        name = id + ('_fusedgate' if fused else '')
        if wanted(name):
            yield Case(name, 1, call, best, best_name, 0.62, extra)


def block_cases(args, wanted) -> Iterator[Case]:
    """Every bottleneck shape of ResNet-101."""
    if args.quick or unavailable('cpp'):
        return
    for batch in (1, 8):
        for stage, s in enumerate((4, 4, 2, 1), 1):
            for entry in (False, True):
                for rate in (0.3, 0.5, 0.7):
                    kind = 'entry' if entry else 'inner'
                    id = f'block_s{stage}_{kind}_S{s}_r{round(100 * rate)}_b{batch}_cpp'
                    if not wanted(id):
                        continue
                    bench = BenchBlock(stage, entry, s, rate, batch)
                    dense = {
                        'folded': partial(dense_folded, bench.block, bench.x),
                        'prepacked': partial(dense_prepacked, bench.block, bench.x),
                    }
                    call = partial(bench.sparse, 'cpp', True)
                    masked = partial(dense_masked, bench.block, bench.x, bench.mask)
                    close(call(), masked())
                    name, best = best_of(dense, args.threads)
                    yield Case(id, batch, call, best, name, None, dict(PACKED))


def main() -> None:
    args = make_parser(__doc__.splitlines()[0]).parse_args()
    print('cpp:', library.describe())

    def wanted(id: str) -> bool:
        return not args.only or args.only in id

    rows = []
    with torch.inference_mode():
        for make in (net_cases, detector_cases, block_cases):
            for case in make(args, wanted):
                if args.quick and case.bar is None:
                    continue
                rows.append(measure(case, 5 if args.quick else 9, args.threads))
                print(format_row(rows[-1]), flush=True)
    write(rows, args.out, 'tools/benchmarks/spatial_speed.py')


if __name__ == '__main__':
    main()
