"""The C++ backend: every code path, its parts, its build and its switches."""

import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dynnet import ops
from dynnet.ops import build
from dynnet.ops.sparse_conv import (
    BackendUnavailableError,
    FoldedConv,
    Problem,
    cpp,
    fold_block,
    library,
    sparse_block,
    sparse_pointwise,
    torch_rows,
)

ROOT = Path(__file__).resolve().parents[2]
needs_cpp = pytest.mark.skipif(
    cpp.unavailable() is not None, reason=f'no kernels: {cpp.unavailable()}'
)


@pytest.fixture(params=library.ISAS)
def isa(request, monkeypatch):
    """Force each code path that this processor has."""
    monkeypatch.setenv('DYNNET_SPARSE_ISA', request.param)
    if reason := cpp.unavailable():
        pytest.skip(reason)
    assert library.instruction_set() == request.param
    return request.param


@needs_cpp
@given(
    batch=st.integers(1, 3),
    size=st.tuples(st.integers(1, 20), st.integers(1, 20)),
    density=st.sampled_from([0.0, 0.2, 0.6, 1.0]),
    threads=st.integers(1, 3),
    seed=st.integers(0, 10**6),
)
@settings(
    max_examples=12,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_every_code_path(
    blocks, reference, kind, isa, batch, size, density, threads, seed
):
    folded = fold_block(blocks[kind])
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(batch, folded.in_channels, *size, generator=generator)
    mask = torch.rand(batch, *folded.out_size(size), generator=generator) < density
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with torch.no_grad():
            out = sparse_block(x, mask, folded, 'cpp')
            expected = reference(blocks[kind], x, mask)
    finally:
        torch.set_num_threads(before)
    error = (out - expected).abs().max() / expected.abs().max().clamp_min(1e-6)
    assert error < 1e-5


def test_a_big_map_runs_in_chunks(make, reference, isa):
    """More rows than fit the cache, so that two convolutions run chunk by chunk."""
    block = make('Bottleneck', (68, 68), expansion=1)
    x = torch.randn(2, 68, 40, 30).relu()
    mask = torch.rand(2, 10, 10) < 0.6
    with torch.no_grad():
        expected = reference(block, x, mask)
        out = sparse_block(x, mask, fold_block(block), 'cpp')
    assert (out - expected).abs().max() < 1e-5 * expected.abs().max()


def test_nan_and_infinity_pass(make, reference, isa):
    block = make('Bottleneck', (20, 20))
    x = torch.randn(1, 20, 6, 6).relu()
    x[0, 2, 2, 2], x[0, 5, 5, 5] = float('nan'), float('inf')
    mask = torch.ones(1, 6, 6)
    with torch.no_grad():
        expected = reference(block, x, mask)
        out = sparse_block(x, mask, fold_block(block), 'cpp')
    assert expected.isnan().any() and torch.equal(out.isnan(), expected.isnan())
    assert torch.equal(out.isinf(), expected.isinf())


def test_the_1x1_convolution(isa):
    for inputs, outputs in ((48, 48), (7, 104), (33, 5)):
        conv = FoldedConv(torch.randn(outputs, inputs, 1, 1), torch.randn(outputs))
        x, identity = torch.randn(2, inputs, 5, 7), torch.randn(2, outputs, 5, 7)
        mask = torch.rand(2, 5, 7) < 0.5
        expected = F.relu(identity + conv.dense(x) * mask[:, None])
        out = sparse_pointwise(x, mask, conv, identity, 'cpp')
        assert torch.allclose(out, expected, rtol=1e-4, atol=1e-4)


@needs_cpp
def test_the_row_lists_are_those_of_the_torch_form(blocks, kind):
    folded = fold_block(blocks[kind])
    x = torch.zeros(3, folded.in_channels, 9, 7)
    out_size = folded.out_size((9, 7))
    for grid in ((1, 1), (2, 3), out_size):
        problem = Problem(x, torch.rand(3, *grid) < 0.4, folded)
        active, needed, taps = cpp.plan(problem)
        expected = torch_rows.plan_rows(problem)
        assert torch.equal(active.long(), expected.active)
        assert torch.equal(needed.long(), expected.needed)
        outside = torch.where(taps < 0, len(needed), taps.long())
        assert torch.equal(outside, expected.taps)


def test_the_product_alone(isa):
    conv = FoldedConv(torch.randn(37, 9, 3, 3), torch.randn(37), 1, 1)
    rows = torch.randn(20, 9)
    index = torch.randint(-1, 20, (50, 9), dtype=torch.int32)
    at = torch.randperm(60)[:50].to(torch.int32)
    padded = torch.cat([rows, rows.new_zeros(1, 9)])
    gathered = padded[index.long()].reshape(50, -1)
    expected = gathered @ conv.matrix() + conv.bias
    assert torch.allclose(cpp.product(rows, conv, index), expected, atol=1e-4)
    out = torch.randn(60, 37)
    whole = out.clone()
    whole[at.long()] = F.relu(whole[at.long()] + expected)
    result = cpp.product(rows, conv, index, True, out, at, out)
    assert result is out and torch.allclose(out, whole, atol=1e-4)


@needs_cpp
def test_the_product_refuses_what_it_cannot_read():
    conv = FoldedConv(torch.randn(4, 3, 1, 1), torch.randn(4))
    rows, out = torch.randn(6, 3), torch.randn(6, 4)
    with pytest.raises(ValueError, match='rows must be contiguous'):
        cpp.product(rows.double(), conv)
    with pytest.raises(ValueError, match='rows must be contiguous'):
        cpp.product(torch.randn(3, 6).t(), conv)
    with pytest.raises(ValueError, match='index must be contiguous'):
        cpp.product(rows, conv, torch.zeros(6, 1, dtype=torch.int64))
    with pytest.raises(ValueError, match='shaped alike'):
        cpp.product(rows, conv, out=out, residual=torch.randn(5, 4))
    wide = FoldedConv(torch.randn(4, 3, 3, 3), torch.randn(4), 1, 1)
    with pytest.raises(ValueError, match='needs an index'):
        cpp.product(rows, wide)


@pytest.mark.parametrize('channels', [5, 64, 200])
@pytest.mark.parametrize('grid', [(1, 1), (3, 2), (7, 9), (2, 9)])
def test_the_fused_gate(isa, channels, grid):
    x = torch.randn(3, channels, 7, 9)
    weight, bias = torch.randn(2, channels, 1, 1), torch.randn(2) * 0.1
    logits = F.conv2d(F.adaptive_avg_pool2d(x, grid), weight, bias)
    sure = (logits[:, 0] - logits[:, 1]).abs() > 1e-4
    out = cpp.gate(x, weight, bias, grid)
    assert torch.equal(out[sure], (logits[:, 0] >= logits[:, 1])[sure])
    assert cpp.gate(x * 0, weight, bias * 0, grid).all()  # ties keep
    assert not cpp.gate(x * float('nan'), weight, bias, grid).any()


@needs_cpp
def test_the_fused_gate_refuses_what_does_not_fit():
    weight, bias = torch.randn(2, 4, 1, 1), torch.zeros(2)
    with pytest.raises(ValueError, match='does not fit maps'):
        cpp.gate(torch.zeros(1, 4, 3, 3), weight, bias, (4, 1))
    with pytest.raises(ValueError, match='does not fit maps'):
        cpp.gate(torch.zeros(1, 5, 3, 3), weight, bias, (1, 1))
    with pytest.raises(TypeError, match='float32'):
        cpp.gate(torch.zeros(1, 4, 3, 3).half(), weight, bias, (1, 1))


# Uninitialised memory


SCRIPT = """
import torch
from dynnet.ops.sparse_conv import FoldedBlock, FoldedConv, sparse_block
torch.manual_seed(0)
def conv(o, i, k):
    return FoldedConv(torch.randn(o, i, k, k) / i, torch.randn(o), 1, k // 2)
block = FoldedBlock((conv(9, 20, 1), conv(9, 9, 3), conv(20, 9, 1)))
x = torch.randn(2, 20, 9, 8)
for density in (0.0, 0.3, 1.0):
    mask = torch.rand(2, 9, 8) < density
    out = sparse_block(x, mask, block, 'cpp')
    assert torch.allclose(out, sparse_block(x, mask, block, 'dense'), atol=1e-5)
"""


@needs_cpp
@pytest.mark.skipif(sys.platform != 'linux', reason='glibc fills its memory')
def test_no_rubbish_from_fresh_memory():
    """glibc fills every allocation with 0x7f: the largest finite floats."""
    env = {**os.environ, 'MALLOC_PERTURB_': '128', 'PYTHONPATH': str(ROOT)}
    subprocess.run([sys.executable, '-W', 'ignore', '-c', SCRIPT], check=True, env=env)


# Build and switches


@pytest.fixture
def fresh(monkeypatch, tmp_path):
    """An empty cache, and nothing remembered of the real one."""
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    library.load.cache_clear()
    library.isa_of.cache_clear()
    yield tmp_path
    library.load.cache_clear()
    library.isa_of.cache_clear()


def test_importing_compiles_nothing(tmp_path):
    env = {**os.environ, 'XDG_CACHE_HOME': str(tmp_path), 'PYTHONPATH': str(ROOT)}
    command = [sys.executable, '-W', 'ignore', '-c', 'import dynnet.ops.sparse_conv']
    subprocess.run(command, check=True, env=env)
    assert not (tmp_path / 'dynnet').exists()


def test_without_a_compiler_the_rest_works(fresh, monkeypatch, make, reference):
    monkeypatch.setenv('CXX', 'no-such-compiler')
    said = []
    monkeypatch.setattr('mmengine.logging.print_log', lambda *a, **k: said.append(a))
    assert 'no C++ compiler' in library.describe()
    block = make('Bottleneck', (24, 24))
    x, mask = torch.randn(1, 24, 5, 5), torch.rand(1, 5, 5) < 0.5
    with torch.no_grad():
        for _ in range(2):
            out = sparse_block(x, mask, fold_block(block))
        assert torch.allclose(out, reference(block, x, mask), atol=1e-5)
        with pytest.raises(BackendUnavailableError, match='no C\\+\\+ compiler'):
            sparse_block(x, mask, fold_block(block), 'cpp')
    lines = [args[0] for args in said if 'sparse kernels' in args[0]]
    assert len(lines) == 1 and 'no C++ compiler' in lines[0]


def test_a_failing_compiler_is_quoted_and_leaves_nothing(fresh, monkeypatch, tmp_path):
    compiler = tmp_path / 'cxx'
    compiler.write_text('#!/bin/sh\necho "x.cpp:1: error: no such luck"; exit 1\n')
    compiler.chmod(0o755)
    monkeypatch.setenv('CXX', str(compiler))
    path = build.library_path(library.SOURCES)
    with pytest.raises(build.BuildError, match='no such luck'):
        build.build(path, library.SOURCES)
    assert [file.suffix for file in path.parent.iterdir()] == ['.lock']


def test_switched_off(fresh, monkeypatch):
    monkeypatch.setenv('DYNNET_SPARSE_CPP', '0')
    assert 'switched off' in cpp.unavailable()
    assert library.describe().startswith('off')
    assert not (fresh / 'dynnet').exists()


def test_an_unknown_code_path_is_named(monkeypatch):
    if cpp.unavailable():
        pytest.skip(cpp.unavailable())
    monkeypatch.setenv('DYNNET_SPARSE_ISA', 'sse9')
    expected = 'DYNNET_SPARSE_ISA=sse9: choose from portable, avx2, avx512'
    assert cpp.unavailable() == library.describe() == expected


def test_a_cache_that_cannot_be_written_is_named(fresh, monkeypatch):
    (fresh / 'dynnet').write_text('a file in the way')
    with pytest.raises(build.BuildError, match='the cache cannot be written'):
        build.build(build.library_path(library.SOURCES), library.SOURCES)


def test_one_compiles_while_the_others_wait(fresh, monkeypatch):
    compiled = []

    def compile_slowly(target, work, sources):
        time.sleep(0.2)
        compiled.append(target)
        target.write_bytes(b'library')

    monkeypatch.setattr(build, '_compile', compile_slowly)
    path = build.library_path(library.SOURCES)
    threads = [
        threading.Thread(target=build.build, args=(path, library.SOURCES))
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(compiled) == 1 and path.read_bytes() == b'library'


def test_the_name_follows_torch_and_the_sources(tmp_path):
    before = build.library_path(library.SOURCES)
    assert torch.__version__ in before.name
    copied = tmp_path / 'sparse_conv/csrc'
    shutil.copytree(library.SOURCES, copied)
    assert build.library_path(copied) == before
    (copied / 'plan.cpp').write_text('// changed')
    assert build.library_path(copied) != before


def test_every_folder_of_kernels_is_built_ahead():
    assert sorted(build.KERNELS) == sorted(Path(ops.__file__).parent.glob('*/csrc'))


@pytest.mark.slow
@pytest.mark.skipif(not build.find_compiler(), reason='no compiler')
def test_a_real_build(fresh):
    assert library.describe() == 'compiled at first use'
    assert cpp.unavailable() is None
    assert library.describe().startswith('compiled, ')
    assert {f.suffix for f in build.library_path(library.SOURCES).parent.iterdir()} == {
        '.so',
        '.lock',
    }


@needs_cpp
def test_a_shortcut_that_misses_the_map_is_refused(make):
    """A floor-mode pooling gives an odd map a row too few: never read beyond it."""
    block = make('Bottleneck', (16, 24), stride=2, pool=True)
    block.downsample[0].ceil_mode = False
    with torch.no_grad(), pytest.raises(ValueError, match='does not meet a map'):
        sparse_block(torch.zeros(1, 16, 7, 7), torch.ones(1, 4, 4), fold_block(block))
