"""Everything that depends on the version of a toolbox. Nothing else does."""

import importlib
import sys
from types import ModuleType

from mmengine.config.utils import MODULE2PACKAGE
from mmengine.registry import DefaultScope


def register_config_package() -> None:
    """Make ``_base_ = 'dynnet::...'`` resolvable.

    mmengine looks the package of such a base up in a fixed table; this adds our entry.
    """
    MODULE2PACKAGE['dynnet'] = 'dynnet'


def host_scope(scope: str) -> str | None:
    """Name the default scope that surrounds ``scope``.

    mmengine stacks default scopes while it builds but only shows the top one.

    Args:
        scope: The scope to look beyond.

    Returns:
        The innermost default scope that is not ``scope``, or None.
    """
    for instance in reversed(DefaultScope._instance_dict.values()):
        if instance.scope_name not in (None, scope):
            return instance.scope_name
    return None


def import_mmaction() -> ModuleType:
    """Import mmaction2 1.2.0 beside a current mmcv.

    Its ``__init__`` refuses mmcv >= 2.2.0, so the reported version is lowered for the
    length of the import. Its wheel lacks the package ``localizers.drn``, which it
    imports all the same: an empty stand-in takes the place. A failed first import can
    not be repeated (half of its registry is filled), so call this before anything else
    imports mmaction.

    Returns:
        The package ``mmaction``, its models registered.

    Raises:
        ImportError: mmaction2 or something that it needs is not installed.
    """
    if 'mmaction.models' in sys.modules:
        return sys.modules['mmaction']
    import mmcv

    name = 'mmaction.models.localizers.drn'
    package, module = ModuleType(name), ModuleType(f'{name}.drn')
    package.__path__ = []
    module.DRN = type('DRN', (), {'__doc__': 'Stand-in: not in the wheel.'})
    version = mmcv.__version__
    try:
        mmcv.__version__ = '2.1.0'
        mmaction = importlib.import_module('mmaction')
        if importlib.util.find_spec('mmaction.models') is not None:
            sys.modules.setdefault(name, package)
            sys.modules.setdefault(f'{name}.drn', module)
        importlib.import_module('mmaction.models')
    finally:
        mmcv.__version__ = version
    return mmaction
