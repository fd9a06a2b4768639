"""Compiles the folders of C++ kernels beside the installed torch; keeps the libraries.

    python -m dynnet.ops.build

A library lies in the user's cache (``XDG_CACHE_HOME`` or ``~/.cache``, then
``dynnet/ops``) under a name made of torch's version, the machine and the sources, so
that a change of one of them compiles anew. A lock lets one process compile while others
wait; what is killed leaves nothing that counts. ``CXX`` names the compiler, and
``DYNNET_SPARSE_CPP=0`` switches all compiled kernels off.
"""

import contextlib
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import torch

# Each folder makes a library: the sparse convolutions' and the kernel mixing's.
KERNELS = tuple(
    Path(__file__).parent / name / 'csrc' for name in ('sparse_conv', 'mixing_cpp')
)
FLAGS = ('-O3', '-std=c++17', '-fPIC', '-fopenmp', '-fvisibility=hidden')
# Per-file flags: each instruction set has a file of its own and no other file may use
# it, so that the choice at run time is safe.
X86 = {
    'kernel_avx2.cpp': ('-mavx2', '-mfma'),
    'kernel_avx512.cpp': ('-mavx512f', '-mavx2', '-mfma'),
}


class BuildError(RuntimeError):
    """The kernels cannot be compiled; the message says why in one line."""


def is_x86() -> bool:
    """Whether the machine has the x86 instruction sets."""
    return platform.machine().lower() in ('x86_64', 'amd64')


def switched_off() -> bool:
    """Whether the environment switches compiled kernels off."""
    return os.environ.get('DYNNET_SPARSE_CPP', '1') == '0'


def find_compiler() -> str | None:
    """Return the C++ compiler's path: ``CXX`` or the first of g++, c++, clang++."""
    if name := os.environ.get('CXX'):
        return shutil.which(name)
    return next(filter(None, map(shutil.which, ('g++', 'c++', 'clang++'))), None)


def library_path(sources: Path) -> Path:
    """Return where the library of some sources and this torch is, or would be.

    Args:
        sources: ``csrc`` folder of the sources; its parent names the library.
    """
    digest = hashlib.sha256(repr((FLAGS, X86, torch.__version__)).encode())
    for path in sorted(sources.iterdir()):
        digest.update(path.name.encode() + path.read_bytes())
    cache = Path(os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache')
    name = f'{sources.parent.name}-torch{torch.__version__}-{platform.machine()}'
    return cache / 'dynnet/ops' / f'{name}-{digest.hexdigest()[:16]}.so'


def build(path: Path, sources: Path) -> None:
    """Compile the library unless it is there; wait while another process compiles it.

    Args:
        path: From :func:`library_path`.
        sources: As there.

    Raises:
        BuildError: There is no compiler, or it failed.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _locked(path.with_suffix('.lock')):
            if path.exists():
                return
            start = time.time()
            with tempfile.TemporaryDirectory(dir=path.parent) as work:
                built = Path(work) / path.name
                _compile(built, Path(work), sources)
                os.replace(built, path)
    except OSError as error:
        raise BuildError(f'the cache cannot be written: {error}') from error
    from mmengine.logging import print_log

    kernels = path.name.partition('-')[0]
    print_log(
        f'compiled the {kernels} kernels in {time.time() - start:.0f} s: {path}',
        'current',
    )


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    try:
        import fcntl
    except ImportError as error:
        raise BuildError(f'not on {platform.system()}') from error
    with open(path, 'w') as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _compile(target: Path, work: Path, sources: Path) -> None:
    compiler = find_compiler()
    if compiler is None:
        raise BuildError('there is no C++ compiler (g++, c++, clang++ or CXX)')
    root = Path(torch.__file__).parent
    include = root / 'include'
    flags = [*FLAGS, '-isystem', str(include)]
    flags += ['-isystem', str(include / 'torch/csrc/api/include')]
    flags.append(f'-D_GLIBCXX_USE_CXX11_ABI={int(torch._C._GLIBCXX_USE_CXX11_ABI)}')
    flags += ['-DDYNNET_X86'] if is_x86() else []
    commands, objects = [], []
    for source in sorted(sources.glob('*.cpp')):
        if source.name in X86 and not is_x86():
            continue
        objects.append(str(work / f'{source.stem}.o'))
        own = X86.get(source.name, ())
        commands.append([compiler, *flags, *own, '-c', str(source), '-o', objects[-1]])
    _run(commands)
    link = ['-shared', '-fopenmp', f'-L{root / "lib"}', '-ltorch_cpu', '-lc10']
    _run([[compiler, *objects, *link, '-o', str(target)]])


def _run(commands: list[list[str]]) -> None:
    """Run commands side by side."""
    pipes = dict(stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    processes = [subprocess.Popen(command, **pipes) for command in commands]
    outputs = [process.communicate()[0] for process in processes]
    for process, output in zip(processes, outputs):
        if process.returncode:
            lines = output.strip().splitlines() or ['no output']
            reason = next((line for line in lines if 'error' in line), lines[-1])
            raise BuildError(f'{process.args[0]} failed: {reason}')


def main() -> None:
    for sources in KERNELS:
        path = library_path(sources)
        try:
            build(path, sources)
        except BuildError as error:
            sys.exit(f"dynnet's kernels were not compiled: {error}")
        print(path)


if __name__ == '__main__':
    main()
