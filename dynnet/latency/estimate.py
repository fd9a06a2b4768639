"""Latency of a network: the sum of its blocks and layers, one by one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from dynnet.utils.errors import ConfigError

from .cost import OpCost, sum_costs
from .density import Density
from .network import BlockSpec, LayerSpec, NetworkSpec

Named = tuple[str, OpCost]


class LatencyModel(Protocol):
    """What predicts blocks and layers on a device.

    Attributes:
        profile: The device.
        batch: Pictures that run together.
        backends: Ways to run a gated block.
        needs_dilation: Whether a block's price depends on ``Density.dilated``.
    """

    profile: Any
    batch: int
    backends: tuple[str, ...]
    needs_dilation: bool

    def for_network(self, network: NetworkSpec) -> 'LatencyModel': ...

    def block(
        self, block: BlockSpec, density: Density, backend: str, whole: bool
    ) -> list[Named]: ...

    def static_block(self, block: BlockSpec, whole: bool) -> list[Named]: ...

    def layer(self, layer: LayerSpec) -> OpCost: ...


@dataclass(frozen=True)
class PartEstimate:
    """A block or a layer of a network.

    Attributes:
        name: Its name.
        stage: Its stage, from 0; None outside of the stages.
        density: What was computed; None for what is static.
        ops: (name, cost) of its operators.
        static: Seconds of the block without a gate; of a static layer its own.
        backend: How it runs.
    """

    name: str
    stage: int | None
    density: Density | None
    ops: tuple[Named, ...]
    static: float
    backend: str

    @property
    def cost(self) -> OpCost:
        """All of its operators together."""
        return sum_costs(cost for _, cost in self.ops)

    @property
    def latency(self) -> float:
        """Seconds of the whole batch."""
        return sum(cost.latency for _, cost in self.ops)


@dataclass(frozen=True)
class NetworkEstimate:
    """A network on a device.

    Attributes:
        network: Name of the network.
        device: Name of the device.
        batch: Pictures that run together.
        granularity: S of each stage.
        parts: Stem, blocks and head.
    """

    network: str
    device: str
    batch: int
    granularity: tuple[int, ...]
    parts: tuple[PartEstimate, ...]

    @property
    def latency(self) -> float:
        """Seconds of the whole batch."""
        return sum(part.latency for part in self.parts)

    @property
    def static(self) -> float:
        """Seconds of the whole batch without gates."""
        return sum(part.static for part in self.parts)

    @property
    def ms_per_image(self) -> float:
        """Milliseconds of one picture."""
        return 1e3 * self.latency / self.batch

    def stage_latency(self, stage: int) -> float:
        """Seconds of the blocks of a stage (from 0)."""
        return sum(part.latency for part in self.parts if part.stage == stage)


def as_densities(
    density: Any, network: NetworkSpec, curve: Any = None
) -> dict[str, Density]:
    """Say the density of every block.

    Args:
        density: One number or :class:`Density` for all blocks; or a sequence with one
            for each stage, or for each block; or a mapping from block names.
        network: The network.
        curve: Gives the dilated share where it is not given: called with the block and
            the active share; None leaves it open.

    Returns:
        Block name to density.

    Raises:
        ConfigError: It does not fit the network.
    """
    blocks = network.blocks
    if isinstance(density, Mapping):
        if missing := [b.name for b in blocks if b.name not in density]:
            raise ConfigError(f'no density of the blocks {", ".join(missing)}')
        values = [density[b.name] for b in blocks]
    elif isinstance(density, Sequence):
        if len(density) == network.num_stages:
            values = [density[b.stage] for b in blocks]
        elif len(density) == len(blocks):
            values = list(density)
        else:
            raise ConfigError(
                f'{len(density)} densities fit neither the {network.num_stages} stages '
                f'nor the {len(blocks)} blocks of {network.name}'
            )
    else:
        values = [density] * len(blocks)
    result = {}
    for block, value in zip(blocks, values):
        value = value if isinstance(value, Density) else Density(float(value))
        if value.dilated is None and curve is not None and block.granularity:
            value = replace(value, dilated=curve(block, value.active))
        result[block.name] = value
    return result


def estimate(
    network: NetworkSpec,
    model: LatencyModel,
    density: Any = 1.0,
    backend: str | None = None,
    whole: bool = True,
    curve: Any = None,
) -> NetworkEstimate:
    """Predict a network's latency.

    Args:
        network: The network.
        model: The device's model.
        density: See :func:`as_densities`.
        backend: How gated blocks run: one of the model's backends, or ``'auto'``: for
            each block the one that is predicted to be fastest. None: the first.
        whole: Include the stem, the head and stage 1's projection, which the published
            figures leave out.
        curve: Dilated share of an active one, see :func:`as_densities`.

    Returns:
        The estimate, block by block.

    Raises:
        ConfigError: Unknown backend, or densities that do not fit.
    """
    backend = backend or model.backends[0]
    if backend not in ('auto', *model.backends):
        raise ConfigError(
            f'no backend {backend!r}: choose from auto, {", ".join(model.backends)}'
        )
    if not model.needs_dilation:
        curve = None
    densities = as_densities(density, network, curve)
    model = model.for_network(network)
    known: dict[Any, PartEstimate] = {}
    blocks = []
    for block in network.blocks:
        at = densities[block.name]
        key = replace(block, name=''), at
        if key not in known:
            known[key] = _block(block, model, at, backend, whole)
        blocks.append(replace(known[key], name=block.name, stage=block.stage))
    stem, head = ([], [])
    if whole:
        stem = [_layer(layer, model) for layer in network.stem]
        head = [_layer(layer, model) for layer in network.head]
    return NetworkEstimate(
        network.name,
        model.profile.name,
        model.batch,
        network.granularity,
        (*stem, *blocks, *head),
    )


def _block(
    block: BlockSpec, model: LatencyModel, density: Density, backend: str, whole: bool
) -> PartEstimate:
    static = model.static_block(block, whole)
    seconds = sum(cost.latency for _, cost in static)
    if not block.granularity:
        return PartEstimate(block.name, block.stage, None, (*static,), seconds, 'dense')
    names = model.backends if backend == 'auto' else (backend,)
    ways = {name: model.block(block, density, name, whole) for name in names}
    best = min(ways, key=lambda name: sum(cost.latency for _, cost in ways[name]))
    return PartEstimate(block.name, block.stage, density, (*ways[best],), seconds, best)


def _layer(layer: LayerSpec, model: LatencyModel) -> PartEstimate:
    cost = model.layer(layer)
    name = layer.name or layer.kind
    return PartEstimate(name, None, None, ((name, cost),), cost.latency, 'dense')
