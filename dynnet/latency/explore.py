"""Latency over granularity and density: where being dynamic pays, and with which S."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from .estimate import LatencyModel, estimate
from .network import NetworkSpec


@dataclass(frozen=True)
class Choice:
    """A stage at a granularity and a density.

    Attributes:
        stage: From 0.
        granularity: S.
        density: Share of active positions.
        ms: Milliseconds of the stage's blocks, per picture.
        static_ms: The same without gates.
        backend: How most of the stage's time is run.
    """

    stage: int
    granularity: int
    density: float
    ms: float
    static_ms: float
    backend: str

    @property
    def speedup(self) -> float:
        """Over the stage without gates."""
        return self.static_ms / self.ms


def explore(
    network: NetworkSpec,
    model: LatencyModel,
    granularities: Sequence[int],
    densities: Sequence[float],
    backend: str | None = None,
    curve: Any = None,
    whole: bool = True,
) -> list[Choice]:
    """Predict every stage at every granularity and density.

    An S larger than a stage's map is left out.

    Args:
        network: The network.
        model: The device's model.
        granularities: S to try.
        densities: Densities to try.
        backend: See :func:`~dynnet.latency.estimate.estimate`.
        curve: See there.
        whole: See there.
    """
    choices = []
    for side in granularities:
        spec = network.with_granularity(side)
        for density in densities:
            found = estimate(spec, model, density, backend, whole, curve)
            for stage in range(network.num_stages):
                parts = [p for p in found.parts if p.stage == stage]
                size = min(b.out_size[0] for b in spec.blocks if b.stage == stage)
                if side > size:
                    continue
                scale = 1e3 / model.batch
                slowest = max(parts, key=lambda part: part.latency)
                choices.append(
                    Choice(
                        stage, side, density, scale * sum(p.latency for p in parts),
                        scale * sum(p.static for p in parts), slowest.backend,
                    )
                )  # fmt: skip
    return choices


def best_granularity(choices: Sequence[Choice], density: float) -> list[Choice]:
    """The fastest S of each stage at a density; of equals the smallest.

    Args:
        choices: Of :func:`explore`.
        density: One of its densities.
    """
    at = [c for c in choices if c.density == density]
    best = []
    for stage in sorted({c.stage for c in at}):
        mine = [c for c in at if c.stage == stage]
        best.append(min(mine, key=lambda c: (c.ms, c.granularity)))
    return best


def break_even(choices: Sequence[Choice], stage: int, granularity: int) -> float | None:
    """The largest density at which a stage is not slower than without gates.

    Args:
        choices: Of :func:`explore`.
        stage: From 0.
        granularity: S.

    Returns:
        One of the densities, or None: it is slower at all of them.
    """
    fast = [
        c.density
        for c in choices
        if c.stage == stage and c.granularity == granularity and c.speedup >= 1
    ]
    return max(fast, default=None)


def with_choices(network: NetworkSpec, choices: Sequence[Choice]) -> NetworkSpec:
    """The network with the chosen S of each stage."""
    sides = {c.stage: c.granularity for c in choices}
    blocks = [replace(b, granularity=sides[b.stage]) for b in network.blocks]
    return replace(network, blocks=tuple(blocks))
