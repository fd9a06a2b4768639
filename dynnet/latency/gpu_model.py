"""Blocks and layers on a GPU, from the operators' prices."""

from collections.abc import Callable

from dynnet.utils.errors import ConfigError

from .cost import OpCost
from .density import Density
from .gpu import GPUOperators
from .network import BlockSpec, LayerSpec, NetworkSpec
from .profile import GPUProfile

Named = tuple[str, OpCost]


class GPULatencyModel:
    """Predicts blocks and layers on a GPU (LAUDNet's latency predictor).

    A gated block fuses its gate with the first convolution where that is faster,
    gathers while it convolves, and adds while it scatters. BN and ReLU are free, and
    the first convolution follows the density of the output: dilation is ignored.

    Args:
        profile: The device.
        batch: Pictures that run together; None takes the profile's.
        tile_at: See :class:`GPUProfile`; None takes the profile's.
        fused: Whether operators are fused; else the gate, the gathering and the
            scattering are kernels of their own.
    """

    backends = ('gpu',)
    needs_dilation = False

    def __init__(
        self,
        profile: GPUProfile,
        batch: int | None = None,
        tile_at: str | None = None,
        fused: bool = True,
    ) -> None:
        if batch is not None and batch < 1:
            raise ConfigError(f'batch={batch} must be at least 1')
        self.profile = profile
        self.ops = GPUOperators(profile, batch, tile_at)
        self.batch = self.ops.batch
        self.fused = fused

    def for_network(self, network: NetworkSpec) -> 'GPULatencyModel':
        """The model of a network's parts: this one."""
        return self

    def block(
        self,
        block: BlockSpec,
        density: Density,
        backend: str = 'gpu',
        whole: bool = True,
    ) -> list[Named]:
        """Price the operators of a gated block.

        Args:
            block: The block; without granularity it is static.
            density: Share that is computed.
            backend: ``'gpu'``.
            whole: Price a projection of stride 1, too, which the published form leaves
                out.

        Returns:
            (name, cost) in the order they run; seconds of the whole batch.
        """
        if not block.granularity:
            return self.static_block(block, whole)
        if block.gate == 'layer':
            gate = self.ops.conv(block.in_channels, 2, *block.in_size, 1)
            rest = self.static_block(block, whole)
            return [('gate', gate), *_scaled(rest, density.active)]
        ops, rho, side = self.ops, density.active, block.granularity
        mid, out, size = block.mid_channels, block.out_channels, block.out_size
        fuse = None if self.fused else False
        costs = [
            (
                'gate + conv1',
                ops.masker_conv1(
                    block.in_channels, mid, *block.in_size, side, rho, fuse
                ),
            )
        ]
        if not self.fused:
            costs.append(('gather', ops.gather(mid, *block.in_size, side, rho, 1)))
        kernel = (3, side, rho, block.stride, block.groups)
        conv2 = ops.dynamic_conv(
            mid, mid, *block.in_size, *kernel, gathered=not self.fused
        )
        conv3 = ops.dynamic_conv(mid, out, *size, 1, side, rho, gathered=True)
        costs += [('conv2', conv2), ('conv3', conv3)]
        if block.squeeze:
            costs += self._named_se(
                ops.dynamic_squeeze_excite(mid, *size, block.squeeze, side, rho)
            )
        if self.fused:
            costs.append(('scatter-add', ops.scatter_add(out, *size, side, rho)))
        else:
            costs.append(('scatter', ops.scatter(out, *size, side, rho)))
            costs.append(('add', ops.add(out, *size)))
        return costs + self._projection(block, whole)

    def static_block(self, block: BlockSpec, whole: bool = True) -> list[Named]:
        """Price the operators of a block that computes everything.

        Args:
            block: The block.
            whole: See :meth:`block`.
        """
        costs = [(layer.name, self.layer(layer)) for layer in block.convs()[:3]]
        size = block.out_size
        if block.squeeze:
            costs += self._named_se(
                self.ops.squeeze_excite(block.mid_channels, *size, block.squeeze)
            )
        costs.append(('add', self.ops.add(block.out_channels, *size)))
        return costs + self._projection(block, whole)

    def layer(self, layer: LayerSpec) -> OpCost:
        """Price a static layer."""
        ops, size = self.ops, (*layer.in_size, *layer.out_size)
        channels = layer.in_channels
        prices: dict[str, Callable[[], OpCost]] = dict(
            conv=lambda: ops.conv(
                channels, layer.out_channels, *layer.in_size, layer.kernel,
                layer.stride, layer.groups,
            ),
            linear=lambda: ops.linear(channels, layer.out_channels),
            max_pool=lambda: ops.avg_pool(channels, *size),
            avg_pool=lambda: ops.avg_pool(channels, *size),
            add=lambda: ops.add(channels, *layer.out_size),
            scale=lambda: ops.avg_pool(channels, *layer.in_size, *layer.in_size),
            pointwise=lambda: ops.avg_pool(channels, *layer.in_size, *layer.in_size),
        )  # fmt: skip
        return prices[layer.kind]()

    def _projection(self, block: BlockSpec, whole: bool) -> list[Named]:
        if not block.projection or (block.stride == 1 and not whole):
            return []
        return [('projection', self.layer(block.convs()[-1]))]

    @staticmethod
    def _named_se(costs: list[OpCost]) -> list[Named]:
        return [(f'SE {i}', cost) for i, cost in enumerate(costs, start=1)]


def _scaled(costs: list[Named], share: float) -> list[Named]:
    """A block that is run for a share of the pictures."""
    return [
        (name, OpCost(*(share * s for s in (c.compute, c.memory, c.launch)), c.mode))
        for name, c in costs
    ]
