#!/usr/bin/env python3
"""Set up a virtual environment for dynnet: the one place that installs anything.

    python tools/setup_env.py --venv .venv --with classification
    python tools/setup_env.py --venv .venv --with classification,detection,tests --ops

Needs nothing but Python 3.10 to 3.12. Runs again at no cost when nothing changed, and
adds to an environment that has less. mmcv comes without compiled ops unless ``--ops``
asks for them; their wheel is built once and kept in the user's cache, outside of the
clone, and so are dynnet's own sparse kernels (seconds; left out without a compiler).
Environment variables: ``TORCH_INDEX_URL``, the index that torch and torchvision
come from (CPU only, another CUDA); ``XDG_CACHE_HOME``, where the wheel is kept;
``MAX_JOBS``, how many files the build compiles at once.
"""

import argparse
import collections
import contextlib
import fcntl
import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
REQUIREMENTS = ROOT / 'requirements'
PARTS = ('classification', 'detection', 'rotated', 'video', 'tests')
NEEDS_OPS = ('detection', 'rotated')
UV = 'uv==0.13.9'
STAMP = 'dynnet-setup.json'


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description='Set up a virtual environment for dynnet.'
    )
    parser.add_argument('--venv', type=Path, default=Path('.venv'), help='directory')
    parser.add_argument(
        '--with',
        dest='parts',
        default='classification',
        help=f'parts to install, comma-separated: {", ".join(PARTS)}',
    )
    parser.add_argument(
        '--ops', action='store_true', help="mmcv's compiled ops (built once, cached)"
    )
    args = parser.parse_args(argv)
    args.parts = sorted({part for part in args.parts.split(',') if part})
    if unknown := [part for part in args.parts if part not in PARTS]:
        parser.error(f'--with {unknown[0]}: choose from {", ".join(PARTS)}')
    return args


# What decides whether something has to be done


def fingerprint(root: Path, python: str, index: str) -> str:
    """Hash everything that an environment is made from.

    Args:
        root: The clone.
        python: Version of the interpreter, as ``'3.11.7'``.
        index: Index that torch comes from; empty for the default one.

    Returns:
        A hex digest.
    """
    files = [*sorted((root / 'requirements').glob('*.txt')), root / 'setup.py']
    files += [root / 'dynnet/version.py', root / 'tools/setup_env.py']
    files += sorted((root / 'dynnet/ops/sparse_conv/csrc').glob('*'))
    digest = hashlib.sha256(f'{root}\n{python}\n{index}\n'.encode())
    for path in files:
        digest.update(f'{path.name}\n'.encode() + path.read_bytes())
    return digest.hexdigest()


def covers(stamp: dict, key: str, parts: list[str], ops: bool) -> bool:
    """Tell whether an environment already has what is asked for.

    Args:
        stamp: What the last set-up wrote (empty when there was none).
        key: The fingerprint of now.
        parts: Parts asked for.
        ops: Whether compiled ops are asked for.

    Returns:
        True when there is nothing to do.
    """
    return (
        stamp.get('key') == key
        and set(parts) <= set(stamp.get('parts', ()))
        and (not ops or stamp.get('ops') is not None)
    )


def pin(package: str) -> str:
    """Return ``package==version`` as ``requirements/constraints.txt`` has it."""
    for line in (REQUIREMENTS / 'constraints.txt').read_text().splitlines():
        if line.startswith(f'{package}=='):
            return line.split(';')[0].strip()
    raise KeyError(f'requirements/constraints.txt does not pin {package}')


def wheel_folder(abi: str, torch: str, mmcv: str, device: str) -> Path:
    """Name the folder in the user's cache that keeps a wheel of mmcv with ops.

    Args:
        abi: ABI tag of the interpreter, as ``'cpython-311-x86_64-linux-gnu'``.
        torch: Version with its local tag, as ``'2.10.0+cu128'``.
        mmcv: Version, as ``'2.3.6'``.
        device: ``'cpu'`` or the GPU generation, as ``'sm90'``.

    Returns:
        The folder; it need not exist.
    """
    cache = Path(os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache')
    return cache / 'dynnet/wheels' / f'{abi}-torch{torch}-mmcv{mmcv}-{device}'


# Running things


def say(text: str) -> None:
    print(f'[setup] {text}', flush=True)


def run(*command: object, quiet: bool = False, **variables: str) -> str:
    """Run a command; end the script with one line when it fails."""
    env = {**os.environ, **variables}
    for name in ('PYTHONPATH', 'PYTHONHOME', 'VIRTUAL_ENV'):
        env.pop(name, None)
    words = [str(word) for word in command]
    done = subprocess.run(
        words, env=env, text=True, stdout=subprocess.PIPE if quiet else None
    )
    if done.returncode:
        sys.exit(f'[setup] failed ({done.returncode}): {" ".join(words)}')
    return done.stdout or ''


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock file; wait while another set-up holds it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, 'w') as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f'waiting for another set-up (lock {path})')
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


class Environment:
    """A virtual environment and the installer in it: uv, or else pip.

    Args:
        path: Its directory.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self.python = self.path / 'bin/python'
        self.stamp_file = self.path / STAMP

    def create(self) -> None:
        """Make the environment unless it is there, and put the installer in it."""
        here = '.'.join(platform.python_version_tuple()[:2])
        if self._works('-c', ''):
            version = 'import sys; print("%d.%d" % sys.version_info[:2])'
            there = run(self.python, '-c', version, quiet=True).strip()
            if there != here:
                sys.exit(
                    f'[setup] {self.path} holds Python {there}, this is {here}: remove '
                    f'it, choose another (--venv, make VENV=), or use Python {there}'
                )
        if not self._works('-m', 'pip', '--version'):
            say(f'new environment {self.path} (Python {platform.python_version()})')
            run(sys.executable, '-m', 'venv', self.path)
        if not self._works('-m', 'uv', '--version'):
            pip = [self.python, '-m', 'pip', 'install', '-q', UV]
            if subprocess.run(pip).returncode:
                say('uv cannot be had, going on with pip')

    def _works(self, *args: str) -> bool:
        if not self.python.exists():
            return False
        command = [self.python, *args]
        return not subprocess.run(command, capture_output=True).returncode

    def install(self, *args: object, **variables: str) -> None:
        """Install with the pinned versions, torch from the index asked for."""
        args += ('-c', REQUIREMENTS / 'constraints.txt')
        uv = self._works('-m', 'uv', '--version')
        if index := os.environ.get('TORCH_INDEX_URL'):
            # Of equal versions the one with a local tag (+cpu, +cu126) is preferred.
            args += ('--extra-index-url', index)
            args += ('--index-strategy', 'unsafe-best-match') if uv else ()
        if uv:
            head = (self.python, '-m', 'uv', 'pip', 'install', '-p', self.python)
        else:
            head = (self.python, '-m', 'pip', 'install')
        run(*head, *args, **variables)

    def read_stamp(self) -> dict:
        """Return what the last set-up that ended well wrote."""
        try:
            return json.loads(self.stamp_file.read_text())
        except (OSError, ValueError):
            return {}

    def write_stamp(self, stamp: dict) -> None:
        """Note what this set-up did."""
        self.stamp_file.write_text(json.dumps(stamp, indent=2) + '\n')


# The compiled ops

_PROBE = """
import json, torch
from torch.utils.cpp_extension import CUDA_HOME
cuda = torch.cuda.is_available() and CUDA_HOME is not None
device = 'sm%d%d' % torch.cuda.get_device_capability() if cuda else 'cpu'
print(json.dumps([torch.__version__, device]))
"""


def build_ops(python: Path, folder: Path, device: str) -> None:
    """Build mmcv's wheel with ops into ``folder``; all or nothing.

    Args:
        python: Interpreter of an environment with torch and the build's needs.
        folder: Where the wheel goes. The caller holds its lock.
        device: ``'cpu'``, or anything else for a build with CUDA.
    """
    say("building mmcv's ops, once for this Python and torch: 5 to 15 minutes")
    start = time.time()
    env = {**os.environ, 'MMCV_WITH_OPS': '1'}
    env['CFLAGS'] = f'-g0 {env.get("CFLAGS", "")}'
    env['PATH'] = f'{python.parent}{os.pathsep}{env.get("PATH", "")}'  # ninja
    if device == 'cpu':
        env['CUDA_VISIBLE_DEVICES'] = ''
    work = folder.with_name(f'{folder.name}.building')
    shutil.rmtree(work, ignore_errors=True)  # of a build that was killed
    work.mkdir(parents=True)
    # No cache: pip's may hold a wheel of the same name without ops.
    command = [python, '-m', 'pip', 'wheel', '-v', '--no-build-isolation', '--no-deps']
    command += ['--no-cache-dir', '-w', work, pin('onedl-mmcv')]
    try:
        run_with_progress(command, env)
        shutil.rmtree(folder, ignore_errors=True)
        work.rename(folder)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    say(f'built in {time.time() - start:.0f} s: {folder}')


def run_with_progress(command: list, env: dict[str, str]) -> None:
    """Run a build; show ninja's counter, and the last lines when it fails."""
    tail = collections.deque(maxlen=30)
    pipes = {'stdout': subprocess.PIPE, 'stderr': subprocess.STDOUT, 'text': True}
    with subprocess.Popen(command, env=env, errors='replace', **pipes) as process:
        for line in process.stdout:
            tail.append(line)
            if counter := re.match(r'\s*\[(\d+)/(\d+)\]', line):
                done, total = map(int, counter.groups())
                if sys.stdout.isatty() or done % 5 == 0 or done == total:
                    end = '\r' if sys.stdout.isatty() and done < total else '\n'
                    print(f'[setup] compiled {done}/{total}', end=end, flush=True)
    if process.returncode:
        sys.exit(f'{"".join(tail)}[setup] failed: {" ".join(map(str, command))}')


def install_ops(environment: Environment) -> str:
    """Put mmcv with ops into the environment, built or from the cache.

    Args:
        environment: Has torch and the build's needs.

    Returns:
        Name of the wheel's folder: what the ops were built for.
    """
    probe = run(environment.python, '-W', 'ignore', '-c', _PROBE, quiet=True)
    torch, device = json.loads(probe)
    abi = sysconfig.get_config_var('SOABI')
    folder = wheel_folder(abi, torch, pin('onedl-mmcv').split('==')[1], device)
    with locked(folder.with_name(f'{folder.name}.lock')):
        if not list(folder.glob('*.whl')):
            build_ops(environment.python, folder, device)
    wheel = next(folder.glob('*.whl'))
    say(f'mmcv with ops from {wheel}')
    environment.install('--no-deps', '--force-reinstall', wheel)
    return folder.name


def build_kernels(python: Path) -> None:
    """Compile dynnet's own kernels beside torch into the user's cache.

    No compiler is no failure: dynnet then runs on PyTorch's operators.

    Args:
        python: Interpreter of an environment with torch and dynnet.
    """
    say("dynnet's own kernels")
    command = [python, '-W', 'ignore', '-m', 'dynnet.ops.build']
    done = subprocess.run(command, text=True, capture_output=True)
    lines = (done.stderr if done.returncode else done.stdout).strip().splitlines()
    say(lines[-1] if lines else f'not compiled ({done.returncode})')


def main() -> None:
    args = parse_args()
    if not (3, 10) <= sys.version_info[:2] <= (3, 12):
        sys.exit(
            f'[setup] this is Python {platform.python_version()}; dynnet is set up '
            'with 3.10, 3.11 or 3.12 (make PYTHON=python3.11 ...)'
        )
    for part in set(NEEDS_OPS).intersection(args.parts):
        if not args.ops:
            say(f"{part} needs mmcv's compiled ops to run: add --ops")
    environment = Environment(args.venv)
    with locked(environment.path.with_name(f'{environment.path.name}.lock')):
        set_up(environment, args.parts, args.ops)


def set_up(environment: Environment, parts: list[str], ops: bool) -> None:
    """Bring an environment to the state asked for; never take anything out of it."""
    start = time.time()
    index = os.environ.get('TORCH_INDEX_URL', '')
    key = fingerprint(ROOT, platform.python_version(), index)
    stamp = environment.read_stamp()
    if covers(stamp, key, parts, ops) and environment.python.exists():
        say(f'{environment.path} is up to date')
        return
    environment.create()
    parts = sorted({*parts, *stamp.get('parts', ())})
    ops = ops or stamp.get('ops') is not None
    environment.write_stamp({**stamp, 'key': None})  # until all has gone well

    say('torch')
    torch = [pin('torch'), pin('torchvision')]
    if stamp and stamp.get('index') != index:
        environment.install('--no-deps', '--force-reinstall', *torch)
    environment.install(*torch, '-r', REQUIREMENTS / 'build.txt')
    built = install_ops(environment) if ops else None
    say(f'requirements: {", ".join(["runtime", *parts])}')
    files = [REQUIREMENTS / f'{name}.txt' for name in ('runtime', *parts)]
    environment.install(
        *(word for file in files for word in ('-r', file)), MMCV_WITH_OPS='0'
    )
    if 'video' in parts:
        environment.install('--no-deps', '-r', REQUIREMENTS / 'video-nodeps.txt')
    say('dynnet')
    environment.install('--no-deps', '--no-build-isolation', '-e', ROOT)
    build_kernels(environment.python)
    check = 'import dynnet, mmcv' + (', mmcv.ops' if ops else '')
    run(environment.python, '-W', 'ignore', '-c', check)

    new = {'key': key, 'parts': parts, 'ops': built, 'index': index}
    environment.write_stamp(new)
    say(f'{environment.path} is ready ({time.time() - start:.0f} s)')


if __name__ == '__main__':
    main()
