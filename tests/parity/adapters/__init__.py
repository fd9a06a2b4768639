"""One adapter per component: it runs our part on a case.

Example:
    >>> @adapter('Doubling')
    ... def run(case):
    ...     ours = 2 * case.input()
    ...     return Result(arrays={'output': (ours, 1e-6, 1e-7)})
"""

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .. import loader


class Case:
    """A parity case as adapters see it.

    Attributes:
        meta: The facts.
        fed: Names of the arrays that the adapter took as input.
    """

    def __init__(self, meta: Mapping[str, Any], arrays: Mapping[str, np.ndarray]):
        self.meta = meta
        self.fed: set[str] = set()
        self._arrays = arrays

    def weights(self, keys: str = 'keys') -> dict[str, np.ndarray]:
        """The published state dict."""
        return loader.make_weights(self.meta, keys)

    def input(self, role: str | None = None) -> np.ndarray:
        """The input, or that of a role where there are several."""
        spec = self.meta['input']
        return loader.make_input(spec if role is None else spec[role])

    def has(self, name: str) -> bool:
        """Whether the case stores an array of that name."""
        return name in self._arrays

    def feed(self, name: str) -> np.ndarray:
        """A stored array as an input; it then need not be compared."""
        self.fed.add(name)
        return self._arrays[name]


@dataclass
class Result:
    """What an adapter found.

    Attributes:
        arrays: Name to (ours, rtol, atol); integers and booleans must be equal.
        facts: Name of a field of the JSON to our value, which must be equal.
        ignored: Name of an array or fact that is not compared to the spec's reason.
        unset: Names of arrays whose NaNs stand for what the published implementation
            left unset; ours must have them in the same places.
    """

    arrays: dict[str, tuple[Any, float, float]] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    ignored: dict[str, str] = field(default_factory=dict)
    unset: set[str] = field(default_factory=set)


ADAPTERS: dict[str, Callable[[Case], Result]] = {}


def adapter(component: str) -> Callable:
    """Register an adapter for the cases of a component."""

    def register(run: Callable[[Case], Result]) -> Callable[[Case], Result]:
        if component in ADAPTERS:
            raise KeyError(f'there are two adapters for {component!r}')
        ADAPTERS[component] = run
        return run

    return register


def load_adapters() -> dict[str, Callable[[Case], Result]]:
    """Import every module of this package and return what they register."""
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f'{__name__}.{module.name}')
    return ADAPTERS
