"""Print what is installed, what works, and what to do about the rest.

python tools/check_env.py
python tools/check_env.py --strict    # exit 1 unless everything works
"""

import argparse
import contextlib
import importlib
import io
import platform
import sys
import warnings
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from typing import NamedTuple

SETUP = 'python tools/setup_env.py --venv .venv --with'


class Part(NamedTuple):
    """Something that dynnet uses.

    Attributes:
        name: What is printed.
        distribution: Name under which it is installed.
        probe: Raises when the part does not work; returns a remark.
        remedy: What to do then.
    """

    name: str
    distribution: str
    probe: Callable[[], str]
    remedy: str


def imports(*modules: str) -> Callable[[], str]:
    """Return a probe that imports the modules and has no remark."""

    def probe() -> str:
        for module in modules:
            importlib.import_module(module)
        return ''

    return probe


def probe_torch() -> str:
    """Compute something; tell where."""
    import torch

    torch.ones(2, 2).mm(torch.ones(2, 2))
    if not torch.cuda.is_available():
        return f'CPU only, {torch.get_num_threads()} threads'
    torch.ones(2, 2, device='cuda').mm(torch.ones(2, 2, device='cuda'))
    return f'CUDA {torch.version.cuda}, {torch.cuda.get_device_name()}'


def probe_ops() -> str:
    """Run one of mmcv's compiled ops on the CPU."""
    import torch
    from mmcv.ops import nms

    boxes = torch.tensor([[0.0, 0, 2, 2], [0, 0, 2, 2]])
    if len(nms(boxes, torch.tensor([0.9, 0.8]), 0.5)[1]) != 1:
        raise RuntimeError('nms gives a wrong answer')
    return 'compiled ops work'


def probe_sparse() -> str:
    """Tell which backend executes masks, and what the others are."""
    from dynnet.ops.sparse_conv import BACKENDS, library, unavailable

    state = library.describe()
    others = [name for name in BACKENDS if name != 'cpp' and unavailable(name) is None]
    active = 'cpp' if state.startswith('compiled') else others[0]
    return f'auto is {active}; cpp: {state}; also {", ".join(others)}'


def probe_mmaction() -> str:
    """Import mmaction2 the way dynnet does."""
    from dynnet.utils.compat import import_mmaction

    import_mmaction()
    return ''


PARTS = (
    Part('torch', 'torch', probe_torch, f'{SETUP} classification'),
    Part('mmengine', 'onedl-mmengine', imports('mmengine'), f'{SETUP} classification'),
    Part('mmcv', 'onedl-mmcv', imports('mmcv'), f'{SETUP} classification'),
    Part('dynnet', 'dynnet', imports('dynnet'), f'{SETUP} classification'),
    Part(
        'mmpretrain',
        'onedl-mmpretrain',
        imports('mmpretrain', 'mmpretrain.models', 'mmpretrain.datasets'),
        f'{SETUP} classification',
    ),
    Part('sparse_conv', 'dynnet', probe_sparse, f'{SETUP} classification'),
    Part('mmcv.ops', 'onedl-mmcv', probe_ops, f'{SETUP} classification --ops'),
    Part(
        'mmdet',
        'onedl-mmdetection',
        imports('mmdet', 'mmdet.models', 'mmdet.datasets'),
        f'{SETUP} detection --ops',
    ),
    Part(
        'mmrotate',
        'onedl-mmrotate',
        imports('mmrotate', 'mmrotate.models', 'mmrotate.datasets'),
        f'{SETUP} rotated --ops',
    ),
    Part('mmaction', 'mmaction2', probe_mmaction, f'{SETUP} video'),
    Part(
        'onnxruntime', 'onnxruntime', imports('onnx', 'onnxruntime'), f'{SETUP} tests'
    ),
    Part('pytest', 'pytest', imports('pytest', 'hypothesis'), f'{SETUP} tests'),
)


def check(part: Part) -> tuple[bool, str]:
    """Try a part.

    Args:
        part: What to try.

    Returns:
        Whether it works, and the lines that say so.
    """
    try:
        installed = version(part.distribution)
    except PackageNotFoundError:
        installed = 'not installed'
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # toolboxes talk on import
            remark = part.probe()
    except Exception as error:  # an import may fail with anything
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        if installed == 'not installed':
            reason = 'missing'
        line = f'{part.name:12} {installed:14} FAILS  {reason}'
        return False, f'{line}\n{"":28}to do: {part.remedy}'
    return True, f'{part.name:12} {installed:14} works  {remark}'.rstrip()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        '--strict', action='store_true', help='exit 1 unless everything works'
    )
    args = parser.parse_args()
    warnings.simplefilter('ignore')
    print(f'Python       {platform.python_version():14} {sys.executable}')
    failures = 0
    for part in PARTS:
        works, text = check(part)
        failures += not works
        print(text, flush=True)
    if args.strict and failures:
        sys.exit(1)


if __name__ == '__main__':
    main()
