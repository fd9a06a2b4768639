"""Deterministic weights and inputs, derived from names alone.

A parity case stores only the parameter names and shapes of a published
implementation, one input rule and the numbers that implementation returned.
Anyone can then rebuild its exact weights with :func:`fill_state_dict`, carry
them over to another implementation and compare the outputs, with no
checkpoint to ship.

The legacy ``RandomState`` stream is used because NumPy guarantees that it
never changes.
"""

import math
import zlib
from collections.abc import Iterable, Mapping, Sequence

import numpy as np


def _rng(name: str) -> np.random.RandomState:
    return np.random.RandomState(zlib.crc32(name.encode('utf-8')) & 0xFFFFFFFF)


def fill(name: str, shape: Sequence[int]) -> np.ndarray:
    """Return the float32 (or int64) array that belongs to ``name``.

    Rules, first match wins:

    * ``*num_batches_tracked``: int64 zero.
    * ``*running_var``: uniform in [0.5, 1.5).
    * ``*running_mean``: 0.1 * normal.
    * two or more axes: normal * sqrt(1 / fan_in), fan_in = prod(shape[1:]).
    * one axis, name ends in ``weight``: 1 + 0.1 * normal.
    * anything else: 0.1 * normal.
    """
    shape = tuple(int(s) for s in shape)
    rng = _rng(name)
    if name.endswith('num_batches_tracked'):
        return np.zeros(shape, dtype=np.int64)
    if name.endswith('running_var'):
        return (0.5 + rng.random_sample(shape)).astype(np.float32)
    values = rng.standard_normal(shape)
    if name.endswith('running_mean'):
        values = 0.1 * values
    elif len(shape) >= 2:
        values = values * math.sqrt(1.0 / max(1, int(np.prod(shape[1:]))))
    elif len(shape) == 1 and name.endswith('weight'):
        values = 1.0 + 0.1 * values
    else:
        values = 0.1 * values
    return np.asarray(values, dtype=np.float32)


def fill_state_dict(keys: Iterable[Sequence]) -> Mapping[str, np.ndarray]:
    """Map ``[[name, shape], ...]`` to ``{name: array}``."""
    return {name: fill(name, shape) for name, shape in keys}


def fill_input(name: str, shape: Sequence[int]) -> np.ndarray:
    """Return a standard-normal float32 input that belongs to ``name``."""
    return (
        _rng('input:' + name)
        .standard_normal(tuple(int(s) for s in shape))
        .astype(np.float32)
    )
