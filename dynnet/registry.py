"""Registries of dynnet: scope ``dynnet``, children of mmengine's roots.

Every registry knows where its members live (``locations``), so that a config's
``custom_imports = dict(imports=['dynnet'])`` is enough to build any ``dynnet.X``.

mmengine builds everything in one scope at a time. Our parts live beside a toolbox's:
a config's ``default_scope`` is the toolbox, and a base written ``'dynnet::...'`` makes
``dynnet`` the scope of its content. :class:`ScopedRegistry` serves both ways: unscoped
names mean ours first, then what they mean in the surrounding scope.
"""

import importlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from mmengine import registry as root
from mmengine.registry import DefaultScope, Registry

from .utils.compat import host_scope
from .utils.optional import require


class ScopedRegistry(Registry):
    """A registry on top of the toolbox that the surrounding default scope names."""

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self._lazy: dict[str, tuple[str, str]] = {}

    def register_lazily(self, names: Iterable[str], module: str, toolbox: str) -> None:
        """Name parts that are imported, with their toolbox, when they are asked for.

        Args:
            names: What ``module`` registers.
            module: Its import path.
            toolbox: Import name of the toolbox that it needs. Where that is missing,
                asking for a part raises an ImportError that names the extra.
        """
        self._lazy.update(dict.fromkeys(names, (module, toolbox)))

    def get(self, key: str) -> type | None:
        """Find a registered class or function.

        Args:
            key: Name, with or without a scope (``'dynnet.RANet'``, ``'RANet'``).

        Returns:
            What is registered under ``key`` in dynnet; for a name without a scope that
            dynnet does not have, what the default scope around it has (its own or
            mmengine's); None when there is no such thing.
        """
        if isinstance(key, str):
            name = key.removeprefix(f'{self.scope}.')
            if '.' not in name:
                self._import_lazy(name)
            if '.' not in key and key not in self.module_dict:
                host = host_scope(self.scope)
                key = f'{host}.{key}' if host else key
        return super().get(key)

    def _import_lazy(self, name: str) -> None:
        self.import_from_location()
        if name in self._lazy and name not in self.module_dict:
            module, toolbox = self._lazy[name]
            require(toolbox, f'{self.scope}.{name}')
            importlib.import_module(module)

    @contextmanager
    def switch_scope_and_registry(self, scope: str | None) -> Iterator[Registry]:
        """Build in ``scope``; where none is asked for, here and not in the default.

        Args:
            scope: A scope's name, or None.

        Yields:
            The registry to build from.
        """
        if scope is None and DefaultScope.get_current_instance() is not None:
            scope = self.scope
        with super().switch_scope_and_registry(scope) as registry:
            yield registry


def _child(parent: Registry, *locations: str) -> ScopedRegistry:
    return ScopedRegistry(
        parent.name, parent=parent, scope='dynnet', locations=list(locations)
    )


# Networks and their parts
MODELS = _child(root.MODELS, 'dynnet.models')
MODEL_WRAPPERS = _child(root.MODEL_WRAPPERS, 'dynnet.models')
WEIGHT_INITIALIZERS = _child(root.WEIGHT_INITIALIZERS, 'dynnet.models')
TASK_UTILS = _child(root.TASK_UTILS, 'dynnet.models')

# Running and optimising
RUNNERS = _child(root.RUNNERS, 'dynnet.engine')
RUNNER_CONSTRUCTORS = _child(root.RUNNER_CONSTRUCTORS, 'dynnet.engine')
LOOPS = _child(root.LOOPS, 'dynnet.engine')
HOOKS = _child(root.HOOKS, 'dynnet.engine')
LOG_PROCESSORS = _child(root.LOG_PROCESSORS, 'dynnet.engine')
OPTIMIZERS = _child(root.OPTIMIZERS, 'dynnet.engine')
OPTIM_WRAPPERS = _child(root.OPTIM_WRAPPERS, 'dynnet.engine')
OPTIM_WRAPPER_CONSTRUCTORS = _child(root.OPTIM_WRAPPER_CONSTRUCTORS, 'dynnet.engine')
PARAM_SCHEDULERS = _child(root.PARAM_SCHEDULERS, 'dynnet.engine')

# Data and evaluation
DATASETS = _child(root.DATASETS, 'dynnet.datasets')
DATA_SAMPLERS = _child(root.DATA_SAMPLERS, 'dynnet.datasets')
TRANSFORMS = _child(root.TRANSFORMS, 'dynnet.datasets')
METRICS = _child(root.METRICS, 'dynnet.evaluation')
EVALUATORS = _child(root.EVALUATOR, 'dynnet.evaluation')
FUNCTIONS = _child(root.FUNCTIONS, 'dynnet.datasets')

# Pictures
VISUALIZERS = _child(root.VISUALIZERS, 'dynnet.visualization')
VISBACKENDS = _child(root.VISBACKENDS, 'dynnet.visualization')

# Early exit: rules that say when a sample leaves, and how thresholds are found
EXIT_CRITERIA = ScopedRegistry(
    'exit criterion', scope='dynnet', locations=['dynnet.models.exits']
)
BUDGET_SOLVERS = ScopedRegistry(
    'budget solver', scope='dynnet', locations=['dynnet.models.exits']
)
