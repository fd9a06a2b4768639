"""Toolboxes that only some parts need: ask for them, or say clearly what is missing."""

import importlib
import importlib.util
import sys
from collections.abc import Iterable
from types import ModuleType

from mmengine.registry import Registry

from .compat import import_mmaction

# Import name -> extra of ``dynnet`` that installs it.
EXTRAS = {
    'mmpretrain': 'classification',
    'mmdet': 'detection',
    'mmrotate': 'rotated',
    'mmaction': 'video',
}
# The toolboxes that do not import without mmcv's compiled ops.
_NEED_OPS = ('mmdet', 'mmrotate')


def is_available(toolbox: str) -> bool:
    """Tell whether a toolbox (and what it cannot do without) is installed.

    Nothing is imported, so the answer is cheap.

    Args:
        toolbox: Import name: a key of :data:`EXTRAS`, or ``'mmcv.ops'``.

    Returns:
        True when it is installed.
    """
    if toolbox == 'mmcv.ops':
        return _is_installed('mmcv') and _is_installed('mmcv._ext')
    return _is_installed(toolbox) and (
        toolbox not in _NEED_OPS or is_available('mmcv.ops')
    )


def require(toolbox: str, needed_by: str = 'This part of dynnet') -> ModuleType:
    """Import a toolbox.

    Args:
        toolbox: Import name: a key of :data:`EXTRAS`, or ``'mmcv.ops'``.
        needed_by: What needs it; begins the message.

    Returns:
        The imported package.

    Raises:
        ImportError: It is not installed; the message names the extra and the command.
    """
    if not is_available(toolbox):
        raise ImportError(missing_message(toolbox, needed_by))
    if toolbox == 'mmaction':
        return import_mmaction()
    return importlib.import_module(toolbox)


def missing_message(toolbox: str, needed_by: str) -> str:
    """Say in one line what is missing and which command installs it.

    Args:
        toolbox: Import name: a key of :data:`EXTRAS`, or ``'mmcv.ops'``.
        needed_by: What needs it.

    Returns:
        The line.
    """
    command = 'python tools/setup_env.py --venv .venv --with'
    if toolbox == 'mmcv.ops':
        return (
            f"{needed_by} needs mmcv's compiled ops, which are not installed: "
            f'{command} classification --ops'
        )
    if _is_installed(toolbox):
        return missing_message('mmcv.ops', f'{needed_by} needs {toolbox}, which')
    extra = EXTRAS[toolbox]
    if toolbox == 'mmaction':  # pip refuses its dependencies, see the script
        return f'{needed_by} needs mmaction, which is not installed: {command} {extra}'
    ops = ' --ops' if toolbox in _NEED_OPS else ''
    return (
        f'{needed_by} needs {toolbox}, which is not installed: it comes with the extra '
        f'dynnet[{extra}] ({command} {extra}{ops})'
    )


def register_missing(registry: Registry, names: Iterable[str], toolbox: str) -> None:
    """Register placeholders for parts whose toolbox is not installed.

    Args:
        registry: Where the parts would be registered.
        names: Registered names of the parts.
        toolbox: Import name of what they need. Building one of them raises an
            ImportError that names the extra.
    """
    for name in names:

        def placeholder(*args, _name: str = name, **kwargs):
            raise ImportError(missing_message(toolbox, f'{registry.scope}.{_name}'))

        registry.register_module(name=name, module=placeholder)


def _is_installed(module: str) -> bool:
    if module in sys.modules:
        return sys.modules[module] is not None
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False
