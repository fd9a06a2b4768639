"""Blocks and layers on a CPU, from counted work and a calibrated profile."""

from dynnet.utils.errors import ConfigError

from .cost import OpCost
from .cpu_profile import BackendProfile, CPUProfile
from .cpu_work import BLOCKS, Work, conv_owner, dense_conv, gate_work, layer_work
from .density import Density
from .network import BlockSpec, LayerSpec, NetworkSpec

Named = tuple[str, OpCost]


def work_features(work: Work, profile: CPUProfile) -> dict[str, float]:
    """Seconds per unit of each constant of :class:`BackendProfile`.

    Args:
        work: An operator's work.
        profile: The CPU.

    Returns:
        Name of the constant to what it is multiplied with; the sum of the products is
        the operator's time.
    """
    return dict(
        pointwise_cost=2 * work.pointwise_macs / profile.peak,
        window_cost=2 * work.window_macs / profile.peak,
        weight_cost=work.weights / profile.copy_bandwidth(work.weights),
        traffic_cost=sum(
            size / profile.copy_bandwidth(within) for size, within in work.traffic
        ),
        position_s=work.positions,
        tap_s=work.taps,
        call_s=work.calls,
    )


def price(work: Work, profile: CPUProfile, constants: BackendProfile) -> OpCost:
    """Seconds of an operator.

    Args:
        work: Its work.
        profile: The CPU.
        constants: Of the backend that runs it.
    """
    parts = {
        name: getattr(constants, name) * amount
        for name, amount in work_features(work, profile).items()
    }
    return OpCost(
        compute=parts['pointwise_cost'] + parts['window_cost'],
        memory=parts['weight_cost'] + parts['traffic_cost'],
        launch=parts['position_s'] + parts['tap_s'] + parts['call_s'],
        mode=profile.mode,
    )


class CPULatencyModel:
    """Predicts blocks and layers on a CPU.

    Seconds follow the products at the executed rows (r of the output, r_dil of the
    first convolution), the bytes that move through the cache level they fit into, and
    the bookkeeping per position and call. BN is folded. In a network whose weights do
    not stay in the last-level cache from one picture to the next, every layer reads its
    own from memory.

    Args:
        profile: The calibrated CPU.
        batch: Pictures that run together; None takes the profile's.
        cold: Whether the weights are read from memory.
    """

    needs_dilation = True

    def __init__(
        self, profile: CPUProfile, batch: int | None = None, cold: bool = False
    ) -> None:
        if batch is not None and batch < 1:
            raise ConfigError(f'batch={batch} must be at least 1')
        self.profile, self.cold = profile, cold
        self.batch = profile.batch_size if batch is None else batch
        self.backends = tuple(name for name in BLOCKS if name in profile.backends)

    def for_network(self, network: NetworkSpec) -> 'CPULatencyModel':
        """The model of a network's parts: are its weights cold?"""
        cold = network.weight_bytes > self.profile.l3_bytes
        return CPULatencyModel(self.profile, self.batch, cold)

    def block(
        self,
        block: BlockSpec,
        density: Density,
        backend: str = 'cpp',
        whole: bool = True,
    ) -> list[Named]:
        """Price the operators of a gated block.

        Args:
            block: The block.
            density: Shares that are computed.
            backend: ``'cpp'``, ``'mkldnn'``, ``'torch'`` or ``'dense'``, of those that
                the profile has.
            whole: A CPU's blocks are always priced whole.

        Returns:
            (name, cost) in the order they run; seconds of the whole batch.
        """
        if not block.granularity:
            return self.static_block(block)
        gate = price(gate_work(block, self.batch), self.profile, self._of('gate'))
        return [('gate', gate), *self.ungated(block, density, backend)]

    def ungated(self, block: BlockSpec, density: Density, backend: str) -> list[Named]:
        """Price a block for a mask that is there already."""
        costs = self._ungated(block, density, backend)
        if self.cold and (density.active or backend == 'dense'):
            costs.append(('cold weights', self._cold(block)))
        return costs

    def _cold(self, part: BlockSpec | LayerSpec) -> OpCost:
        return OpCost(0.0, part.weight_bytes / self.profile.read_bandwidth, 0.0)

    def _ungated(self, block: BlockSpec, density: Density, backend: str) -> list[Named]:
        if block.groups != 1 or block.squeeze:
            return self._grouped(block, density, backend)
        works = BLOCKS[backend](block, self.batch, density)
        constants = self._of(backend)
        eager = self._of('dense')
        return [
            (
                work.name,
                price(
                    work,
                    self.profile,
                    eager
                    if work.name == 'projection' and backend in ('torch', 'mkldnn')
                    else constants,
                ),
            )
            for work in works
        ]

    def static_block(self, block: BlockSpec, whole: bool = True) -> list[Named]:
        """Price a block that computes everything, densely."""
        return self.ungated(block, Density(1.0, 1.0), 'dense')

    def layer(self, layer: LayerSpec) -> OpCost:
        """Price a static layer."""
        if layer.kind == 'conv':
            work, owner = dense_conv(layer, self.batch), conv_owner(layer)
        else:
            work, owner = layer_work(layer, self.batch), 'layer'
        cost = price(work, self.profile, self._of(owner))
        if self.cold and layer.weight_bytes:
            extra = self._cold(layer).memory
            cost = OpCost(cost.compute, cost.memory + extra, cost.launch, cost.mode)
        return cost

    def _grouped(self, block: BlockSpec, density: Density, backend: str) -> list[Named]:
        """RegNetY: all is dense but the last convolution, which ``r`` shortens."""
        costs = self._grouped_dense(block)
        if backend == 'dense':
            return costs
        scaled = []
        for name, cost in costs:
            if name in ('conv3', 'mask + add'):
                share = density.active
                cost = OpCost(
                    share * cost.compute, share * cost.memory, cost.launch, cost.mode
                )
            scaled.append((name, cost))
        return scaled

    def _grouped_dense(self, block: BlockSpec) -> list[Named]:
        """Price a block of grouped convolutions, squeeze and excitation included."""
        owners = {layer.name: conv_owner(layer) for layer in block.convs()}
        works = BLOCKS['dense'](block, self.batch, Density(1.0, 1.0))
        costs = [
            (w.name, price(w, self.profile, self._of(owners.get(w.name, 'dense'))))
            for w in works
        ]
        if block.squeeze:
            mid, size = block.mid_channels, block.out_size
            for kind, args in (
                ('avg_pool', (mid, mid, size)),
                ('linear', (mid, block.squeeze)),
                ('linear', (block.squeeze, mid)),
                ('scale', (mid, mid, size, size)),
            ):
                costs.append((f'SE {kind}', self.layer(LayerSpec(kind, *args))))
        return costs

    def _of(self, backend: str) -> BackendProfile:
        try:
            return self.profile.backends[backend]
        except KeyError:
            raise ConfigError(
                f'profile {self.profile.name!r} has no backend {backend!r} '
                f'(there are {", ".join(self.profile.backends)})'
            ) from None
