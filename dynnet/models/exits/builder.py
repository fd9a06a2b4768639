"""Build exit criteria and budget solvers from their configs."""

from typing import Any

from mmengine.registry import Registry

from dynnet.registry import BUDGET_SOLVERS, EXIT_CRITERIA
from dynnet.utils.errors import ConfigError

from .criteria import ExitCriterion


def build_criterion(cfg: dict | ExitCriterion) -> ExitCriterion:
    """Build an exit criterion from ``dict(type='MaxSoftmax')``.

    Args:
        cfg: Config, with or without the prefix ``dynnet.``, or a built criterion.

    Returns:
        The criterion.

    Raises:
        ConfigError: The type is not registered; the message names those that are.
    """
    return cfg if isinstance(cfg, ExitCriterion) else _build(EXIT_CRITERIA, cfg)


def build_solver(cfg: Any) -> Any:
    """Build a budget solver from its config.

    Args:
        cfg: Config, with or without the prefix ``dynnet.``, or a built solver.

    Returns:
        The solver.

    Raises:
        ConfigError: The type is not registered; the message names those that are.
    """
    return _build(BUDGET_SOLVERS, cfg) if isinstance(cfg, dict) else cfg


def _build(registry: Registry, cfg: dict) -> Any:
    # Not registry.build(): under a toolbox's default scope that warns on each call.
    args = dict(cfg)
    name = args.pop('type')
    if not isinstance(name, str):
        return name(**args)
    built = registry.get(name.removeprefix('dynnet.'))
    if built is None:
        known = ', '.join(sorted(registry.module_dict))
        raise ConfigError(f'there is no {registry.name} {name!r}; registered: {known}')
    return built(**args)
