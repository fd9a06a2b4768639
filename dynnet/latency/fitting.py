"""Fit a CPU profile's constants to timings; least squares without negative ones."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy import ndarray

from dynnet.utils.errors import ConfigError

from .cpu_model import work_features
from .cpu_profile import CONSTANTS, BackendProfile, CPUProfile
from .cpu_work import BLOCKS, Work, conv_owner, dense_conv, gate_work, layer_work
from .density import Density
from .network import BlockSpec, LayerSpec


@dataclass(frozen=True)
class Timing:
    """A measured operator.

    Attributes:
        backend: Which constants it speaks of: a backend of blocks, ``'gate'`` or
            ``'layer'``.
        spec: The block or layer.
        batch: Pictures.
        seconds: Of a call.
        density: Shares that were computed, for blocks.
        again: Seconds of a second measurement; the distance is the noise.
    """

    backend: str
    spec: BlockSpec | LayerSpec
    batch: int
    seconds: float
    density: Density | None = None
    again: float | None = None


def nonnegative_least_squares(matrix: ndarray, target: ndarray) -> ndarray:
    """Minimise ``|matrix @ x - target|`` over ``x >= 0`` (Lawson and Hanson, 1974).

    Args:
        matrix: (N, K).
        target: (N,).

    Returns:
        (K,).
    """
    scale = np.linalg.norm(matrix, axis=0)
    scale[scale == 0] = 1
    a = matrix / scale
    size = a.shape[1]
    x, free = np.zeros(size), np.zeros(size, dtype=bool)
    for _ in range(10 * size):
        slope = a.T @ (target - a @ x)
        if free.all() or slope[~free].max() <= 1e-10 * max(1.0, abs(slope).max()):
            break
        free[np.argmax(np.where(free, -np.inf, slope))] = True
        while True:
            trial = np.zeros(size)
            trial[free] = np.linalg.lstsq(a[:, free], target, rcond=None)[0]
            if trial[free].min() > 0:
                break
            down = free & (trial <= 0)
            step = (x[down] / np.maximum(x[down] - trial[down], 1e-300)).min()
            x = x + step * (trial - x)
            free &= x > 1e-13
            if not free.any():
                break
        x = trial
    return x / scale


def works_of(timing: Timing) -> list[tuple[str, Work]]:
    """Count what a timing ran: (whose constants, work)."""
    spec, batch = timing.spec, timing.batch
    if timing.backend == 'gate':
        return [('gate', gate_work(spec, batch))]
    if isinstance(spec, LayerSpec):
        if spec.kind == 'conv':
            return [(conv_owner(spec), dense_conv(spec, batch))]
        return [('layer', layer_work(spec, batch))]
    eager = timing.backend in ('torch', 'mkldnn')
    return [
        ('dense' if eager and work.name == 'projection' else timing.backend, work)
        for work in BLOCKS[timing.backend](spec, batch, timing.density)
    ]


def features(
    works: Iterable[tuple[str, Work]], profile: CPUProfile, backend: str
) -> tuple[ndarray, float]:
    """What a timing says of a backend's constants.

    Args:
        works: Of :func:`works_of`.
        profile: The CPU; its other backends' constants are taken as known.
        backend: Whose constants are asked for.

    Returns:
        What each constant is multiplied with (K,), and the seconds of the rest.
    """
    row, known = np.zeros(len(CONSTANTS)), 0.0
    for owner, work in works:
        values = work_features(work, profile)
        values = np.array([values[name] for name in CONSTANTS])
        if owner == backend:
            row += values
        else:
            other = profile.backends[owner]
            known += float(values @ [getattr(other, name) for name in CONSTANTS])
    return row, known


def fit_backend(
    timings: Sequence[Timing], profile: CPUProfile, backend: str
) -> BackendProfile:
    """Fit a backend's constants to its timings, in relative error.

    Args:
        timings: Those of other backends are ignored.
        profile: The CPU, with the constants that the backend's timings build upon.
        backend: The backend.

    Raises:
        ConfigError: There are no timings of it.
    """
    mine = [(t, works_of(t)) for t in timings]
    mine = [(t, works) for t, works in mine if works[0][0] == backend]
    if not mine:
        raise ConfigError(f'no timings of {backend!r} to fit its constants to')
    rows, targets = [], []
    for timing, works in mine:
        row, known = features(works, profile, backend)
        rows.append(row / timing.seconds)
        targets.append(1 - known / timing.seconds)
    found = nonnegative_least_squares(np.array(rows), np.array(targets))
    return BackendProfile(*map(float, found))


def fit_profile(profile: CPUProfile, timings: Sequence[Timing]) -> CPUProfile:
    """Fit all constants of a profile.

    Args:
        profile: The CPU, measured by the micro-benchmarks.
        timings: Of every backend that the profile is to have.

    Returns:
        The profile with its backends.
    """
    first = 'gate', 'layer', 'grouped', 'depthwise', 'dense'  # 'dense' before its users
    for backend in (*first, *BLOCKS):
        if any(t.backend == backend for t in timings):
            fitted = fit_backend(timings, profile, backend)
            profile = replace(profile, backends={**profile.backends, backend: fitted})
    return profile


def predict(timing: Timing, profile: CPUProfile) -> float:
    """Seconds that a profile predicts for a timing's operator."""
    total = 0.0
    for owner, work in works_of(timing):
        row, _ = features([(owner, work)], profile, owner)
        constants = profile.backends[owner]
        total += float(row @ [getattr(constants, name) for name in CONSTANTS])
    return total


def errors(timings: Sequence[Timing], profile: CPUProfile) -> ndarray:
    """Relative errors (N,) of the predictions: predicted / measured - 1."""
    return np.array([predict(t, profile) / t.seconds - 1 for t in timings])


def noise(timings: Sequence[Timing]) -> float:
    """Median relative distance of a measurement from its repetition."""
    pairs = [abs(t.again / t.seconds - 1) for t in timings if t.again is not None]
    return float(np.median(pairs)) if pairs else float('nan')


def rank_correlation(a: Sequence[float], b: Sequence[float]) -> float:
    """Spearman's; equal values share their mean rank."""
    ranks = []
    for values in (a, b):
        _, at, counts = np.unique(values, return_inverse=True, return_counts=True)
        ranks.append((np.cumsum(counts) - (counts - 1) / 2)[at])
    return float(np.corrcoef(*ranks)[0, 1])
