"""What an operator costs on a device."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy import ndarray

MODES = ('add', 'max')


def total_time(
    compute: ndarray | float, memory: ndarray | float, mode: str
) -> ndarray | float:
    """Time of work that computes and moves data.

    Args:
        compute: Seconds of arithmetic.
        memory: Seconds of traffic.
        mode: ``'add'``: one after the other (the published form); ``'max'``: at the
            same time.
    """
    return compute + memory if mode == 'add' else np.maximum(compute, memory)


@dataclass(frozen=True)
class OpCost:
    """Seconds of one operator on one batch.

    Attributes:
        compute: Arithmetic.
        memory: Traffic.
        launch: Starting it.
        mode: How compute and memory make up the time, see :func:`total_time`.
    """

    compute: float
    memory: float
    launch: float
    mode: str = 'add'

    @property
    def latency(self) -> float:
        """Seconds in all."""
        return float(total_time(self.compute, self.memory, self.mode)) + self.launch

    @property
    def bound(self) -> str:
        """What takes the most: ``'compute'``, ``'memory'`` or ``'launch'``."""
        parts = dict(compute=self.compute, memory=self.memory, launch=self.launch)
        return max(parts, key=parts.get)


def sum_costs(costs: Iterable[OpCost]) -> OpCost:
    """The cost of operators that run one after the other.

    The sum's ``latency`` is the sum of theirs: where a mode hides the smaller of
    compute and memory behind the larger, only what shows is added up.
    """
    compute = memory = launch = 0.0
    for cost in costs:
        launch += cost.launch
        if cost.mode == 'add' or cost.compute > cost.memory:
            compute += cost.compute
        if cost.mode == 'add' or cost.memory >= cost.compute:
            memory += cost.memory
    return OpCost(compute, memory, launch)
