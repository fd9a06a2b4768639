"""Dynamic neural networks for the OpenMMLab toolboxes.

``import dynnet`` makes every ``dynnet.X`` type resolvable in a config and
``_base_ = 'dynnet::...'`` resolvable as a base. It loads no toolbox: the modules behind
the types are imported when the first of them is built.
"""

from . import registry
from .utils.compat import register_config_package
from .version import __version__

register_config_package()

__all__ = ['__version__', 'registry']
