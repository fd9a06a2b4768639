"""Put the four extracted Fashion-MNIST files where mmpretrain looks for them.

Sources, tried in this order until one gives the whole set:

1. the output folder itself, when the files are there and whole;
2. the Debian package ``dataset-fashion-mnist``, if it is installed;
3. the same package, downloaded and unpacked without root;
4. the download of :class:`mmpretrain.datasets.FashionMNIST`.

Example:
    python tools/dataset_converters/prepare_fashion_mnist.py --out data/fashion_mnist
"""

import argparse
import contextlib
import gzip
import math
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

PACKAGE = 'dataset-fashion-mnist'
INSTALLED = Path('/usr/share/datasets/fashion-mnist')
IMAGE_MAGIC, LABEL_MAGIC = 2051, 2049
# name -> (idx magic number, size of every dimension)
FILES = {
    'train-images-idx3-ubyte': (IMAGE_MAGIC, (60000, 28, 28)),
    'train-labels-idx1-ubyte': (LABEL_MAGIC, (60000,)),
    't10k-images-idx3-ubyte': (IMAGE_MAGIC, (10000, 28, 28)),
    't10k-labels-idx1-ubyte': (LABEL_MAGIC, (10000,)),
}
WAYS = (
    f'install the Debian package {PACKAGE} (apt-get install {PACKAGE}); '
    f'or make `apt-get download {PACKAGE}` and `dpkg-deb` work here; '
    'or install mmpretrain on a machine that reaches its download address; '
    'or copy the four files (plain or .gz) into the folder yourself'
)


class SourceError(Exception):
    """One way to get the files did not work; the message says why."""


def check_idx(path: Path, magic: int, shape: tuple[int, ...]) -> None:
    """Raise :class:`SourceError` unless ``path`` is the whole idx file.

    Args:
        path: File to check.
        magic: Magic number of the idx format.
        shape: Expected size of every dimension; the values are bytes.

    Raises:
        SourceError: The file is missing, cut short or something else.
    """
    header = b''.join(n.to_bytes(4, 'big') for n in (magic, *shape))
    size = len(header) + math.prod(shape)
    if not path.is_file():
        raise SourceError(f'{path} does not exist')
    if path.stat().st_size != size:
        raise SourceError(f'{path} has {path.stat().st_size} bytes, not {size}')
    with path.open('rb') as file:
        if file.read(len(header)) != header:
            raise SourceError(f'{path} does not start as an idx file of shape {shape}')


def check_folder(folder: Path) -> None:
    """Raise :class:`SourceError` unless all four files are there and whole."""
    for name, (magic, shape) in FILES.items():
        check_idx(folder / name, magic, shape)


def extract(source: Path, out: Path) -> None:
    """Gunzip or copy the four files of ``source`` into ``out``.

    A file gets its final name only when it is whole, so a kill never leaves half
    a file that a later run would take for the real one.
    """
    for name, (magic, shape) in FILES.items():
        packed, plain = source / f'{name}.gz', source / name
        if not packed.is_file() and not plain.is_file():
            raise SourceError(f'{packed} does not exist')
        aside = out / f'.{name}.{os.getpid()}.tmp'
        try:
            opened = gzip.open(packed) if packed.is_file() else plain.open('rb')
            with opened as read, aside.open('wb') as write:
                shutil.copyfileobj(read, write, 1 << 20)
            check_idx(aside, magic, shape)
            os.replace(aside, out / name)
        except (EOFError, gzip.BadGzipFile) as error:
            raise SourceError(f'{packed} is damaged: {error}') from error
        finally:
            aside.unlink(missing_ok=True)


def from_folder(out: Path) -> None:
    """Take what lies in the output folder: whole, or still packed."""
    try:
        check_folder(out)
    except SourceError:
        extract(out, out)


def from_installed_package(out: Path) -> None:
    """Take the files of the installed Debian package."""
    if not INSTALLED.is_dir():
        raise SourceError(f'{INSTALLED} does not exist')
    extract(INSTALLED, out)


def from_downloaded_package(out: Path) -> None:
    """Download and unpack the Debian package in a temporary folder, no root."""
    for tool in ('apt-get', 'dpkg-deb'):
        if shutil.which(tool) is None:
            raise SourceError(f'{tool} is not on this machine')
    with tempfile.TemporaryDirectory(prefix='fashion-mnist-') as name:
        folder = Path(name)
        try:
            run_command(['apt-get', 'download', PACKAGE], folder)
        except SourceError:  # the package lists are missing or too old
            options = private_apt_options(folder)
            run_command(['apt-get', *options, 'update'], folder)
            run_command(['apt-get', *options, 'download', PACKAGE], folder)
        package = next(folder.glob(f'{PACKAGE}_*.deb'), None)
        if package is None:
            raise SourceError('apt-get download wrote no .deb file')
        run_command(['dpkg-deb', '-x', str(package), 'unpacked'], folder)
        extract(folder / 'unpacked' / INSTALLED.relative_to('/'), out)


def private_apt_options(folder: Path) -> list[str]:
    """Options with which ``apt-get update`` writes to ``folder``, without root."""
    (folder / 'lists' / 'partial').mkdir(parents=True)
    (folder / 'cache' / 'archives' / 'partial').mkdir(parents=True)
    options = {'Dir::State::lists': 'lists', 'Dir::Cache': 'cache'}
    return [f'-o{key}={folder / value}' for key, value in options.items()]


def run_command(command: list[str], folder: Path) -> None:
    """Run ``command`` in ``folder``; its last complaint becomes the error."""
    print('  $', ' '.join(command), flush=True)
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines()
        raise SourceError(f'{command[0]}: {lines[-1] if lines else "failed"}')


def from_mmpretrain(out: Path) -> None:
    """Let mmpretrain download the files into a temporary folder beside ``out``."""
    try:
        from mmpretrain.datasets import FashionMNIST
    except ImportError as error:
        raise SourceError(f'mmpretrain cannot be imported ({error})') from error
    with tempfile.TemporaryDirectory(dir=out, prefix='.download-') as name:
        try:
            with contextlib.redirect_stdout(sys.stderr):
                FashionMNIST(data_root=name, split='train', download=True)
        except Exception as error:  # whatever the network throws, the way failed
            raise SourceError(f'{type(error).__name__}: {error}') from error
        extract(Path(name), out)


SOURCES = {
    'the output folder': from_folder,
    'the installed Debian package': from_installed_package,
    'the downloaded Debian package': from_downloaded_package,
    "mmpretrain's download": from_mmpretrain,
}


def prepare(out: Path) -> str:
    """Fill ``out`` with the four files.

    Args:
        out: Folder for the extracted files; made if missing.

    Returns:
        The name of the source that gave them.

    Raises:
        SourceError: No source worked; the message names the ways.
    """
    out.mkdir(parents=True, exist_ok=True)
    reasons = []
    for name, source in SOURCES.items():
        try:
            source(out)
            check_folder(out)
            return name
        except (SourceError, OSError) as error:
            reasons.append(f'{name}: {error}')
            print(f'- {reasons[-1]}', flush=True)
    raise SourceError(f'no source gave Fashion-MNIST for {out}. Ways: {WAYS}.')


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        '--out',
        type=Path,
        default=Path('data/fashion_mnist'),
        help='folder for the four files (default: data/fashion_mnist)',
    )
    args = parser.parse_args(argv)
    try:
        source = prepare(args.out)
    except (SourceError, OSError) as error:
        print(f'error: {error}', file=sys.stderr)
        return 1
    print(f'Fashion-MNIST is in {args.out} (from {source}).')
    return 0


if __name__ == '__main__':
    sys.exit(main())
