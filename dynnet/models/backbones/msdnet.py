"""Multi-Scale DenseNet, https://arxiv.org/abs/1703.09844."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from torch import Tensor, nn

from dynnet.registry import MODELS
from dynnet.utils.errors import ConfigError
from dynnet.utils.folding import can_fold

from ..layers import Bottleneck, ChannelStack, ConvBNReLU, SharedPointwise
from .base import MultiExitBackbone, check_exit_index
from .stem import build_stem


class _ScaleUnit(nn.Module):
    """What one layer adds at one scale; ``conv_down`` reads the next finer scale."""

    def __init__(self, conv_normal: nn.Module, conv_down: nn.Module | None = None):
        super().__init__()
        if conv_down is not None:
            self.conv_down = conv_down
        self.conv_normal = conv_normal


class MSDLayer(nn.Module):
    """One layer over several scales (paper, section 4).

    Args:
        channels: Channels of the input per scale that comes in, fine first.
        growth: Channels added per scale that goes out, fine first.
        factors: Bottleneck factor per scale that comes in (None: no bottleneck).
        idle: How many of the finest scales that go out nobody reads: left as they are.

    The finest scales that come in beyond those that go out are dropped; a scale that
    goes out adds half of its growth from the next finer one, where there is one.
    """

    def __init__(
        self,
        channels: Sequence[int],
        growth: Sequence[int],
        factors: Sequence[int | None],
        idle: int = 0,
    ) -> None:
        super().__init__()
        self.growth = tuple(growth)
        self.dropped = len(channels) - len(growth)
        self.idle = idle
        self.bottleneck = factors[0] is not None
        self._shared = [SharedPointwise() for _ in growth]
        self.layers = nn.ModuleList()
        for i, g in enumerate(growth):
            s = i + self.dropped  # position among the scales that come in
            if i < idle:
                unit = nn.Identity()
            elif s == 0:
                unit = _ScaleUnit(Bottleneck(channels[0], g, factors[0]))
            else:
                unit = _ScaleUnit(
                    Bottleneck(channels[s], g // 2, factors[s]),
                    Bottleneck(channels[s - 1], g // 2, factors[s - 1], stride=2),
                )
            self.layers.append(unit)

    def forward(self, stacks: list[ChannelStack]) -> list[ChannelStack]:
        """Extend the stacks in place; return those of the scales that go out."""
        inputs = [stack.prefix() for stack in stacks]
        kept = stacks[self.dropped :]
        if can_fold(self, inputs[0]):
            self._infer(inputs, kept)
            return kept
        for i, (unit, stack) in enumerate(zip(self.layers, kept)):
            if i < self.idle:
                continue
            s = i + self.dropped
            if s > 0:
                stack.append(unit.conv_down(inputs[s - 1]))
            stack.append(unit.conv_normal(inputs[s]))
        return kept

    def _infer(self, inputs: list[Tensor], kept: list[ChannelStack]) -> None:
        down = None  # what the next coarser scale adds from this one
        for s, x in enumerate(inputs):
            i, down_here = s - self.dropped, down
            normal = self.layers[i].conv_normal if i >= self.idle else None
            coarser = self.layers[i + 1] if i + 1 < len(self.layers) else None
            down = None
            if coarser is not None and i + 1 >= self.idle:
                down = coarser.conv_down
            here = None
            if normal is not None and down is not None and self.bottleneck:
                both = self._shared[i](normal, down, x)
                if both is not None:
                    here = normal.infer_from(both[0])
                    down = down.infer_from(both[1])
            if here is None:
                here = None if normal is None else normal.infer(x)
                down = None if down is None else down.infer(x)
            if down_here is not None:
                kept[i].append_relu(down_here)
            if here is not None:
                kept[i].append_relu(here)


class MSDTransition(nn.Module):
    """1x1 convolutions that reduce the channels of every scale.

    Args:
        in_channels: Channels per scale, fine first.
        out_channels: Channels per scale it leaves.
        idle: How many of the finest scales nobody reads: left as they are.
    """

    def __init__(
        self, in_channels: Sequence[int], out_channels: Sequence[int], idle: int = 0
    ) -> None:
        super().__init__()
        self.channels = (*in_channels[:idle], *out_channels[idle:])
        self.m = nn.ModuleList(
            nn.Identity() if s < idle else ConvBNReLU(i, o, 1)
            for s, (i, o) in enumerate(zip(in_channels, out_channels))
        )

    def forward(self, stacks: list[ChannelStack]) -> list[Tensor]:
        """Map the stacks to the reduced maps, (N, out, H, W) per scale."""
        return [conv(stack.prefix()) for conv, stack in zip(self.m, stacks)]


class _Stem(nn.Module):
    """The input of every scale, computed from the finest down."""

    def __init__(self, kind: str, in_channels: int, channels: Sequence[int]) -> None:
        super().__init__()
        self.channels = tuple(channels)
        self.layers = nn.ModuleList([build_stem(kind, in_channels, channels[0])])
        for i, o in zip(channels, channels[1:]):
            self.layers.append(ConvBNReLU(i, o, stride=2))

    def forward(self, x: Tensor) -> list[Tensor]:
        outs = []
        for layer in self.layers:
            x = layer(x)
            outs.append(x)
        return outs


@dataclass
class _State:
    block: int
    stacks: list[ChannelStack]


@MODELS.register_module()
class MSDNet(MultiExitBackbone):
    """Multi-Scale DenseNet.

    Args:
        stem: 'cifar' (32 px) or 'imagenet' (224 px).
        num_blocks: Blocks; each ends in an exit.
        base: Layers of the first block.
        step: Layers of every further block ('even'), or of block i (from 0)
            ``step * i + 1`` ('lin_grow').
        step_mode: 'even' or 'lin_grow'.
        base_channels: Channels n of the finest scale's stem, for a factor of 1.
        growth_rate: Channels a layer adds for a factor of 1.
        growth_factor: Width factor per scale, fine first.
        bottleneck_factor: Bottleneck factor per scale, fine first.
        prune: When the finest scales are dropped: 'max' spreads it over the depth,
            'min' keeps all until the last layers need them no more.
        reduction: What a transition leaves of the channels; 0 for no transitions.
        bottleneck: Whether units begin with a 1x1 convolution.
        in_channels: Channels of the picture.
        exit_index: Build and return only what this exit (from 0) needs.
        init_cfg: mmengine's initialisation config. The published nets keep PyTorch's
            default initialisation.

    Raises:
        ValueError: arguments that do not describe an MSDNet, named.
    """

    def __init__(
        self,
        stem: str = 'cifar',
        num_blocks: int = 5,
        base: int = 1,
        step: int = 1,
        step_mode: str = 'even',
        base_channels: int = 16,
        growth_rate: int = 6,
        growth_factor: Sequence[int] = (1, 2, 4),
        bottleneck_factor: Sequence[int] = (1, 2, 4),
        prune: str = 'max',
        reduction: float = 0.5,
        bottleneck: bool = True,
        in_channels: int = 3,
        exit_index: int | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if not growth_factor or len(growth_factor) != len(bottleneck_factor):
            raise ConfigError(
                'growth_factor and bottleneck_factor need one value per scale, got '
                f'{tuple(growth_factor)} and {tuple(bottleneck_factor)}'
            )
        if any(growth_rate * f % 2 for f in growth_factor[1:]):
            raise ConfigError(
                f'growth_rate={growth_rate}: times {tuple(growth_factor[1:])} it must '
                'be even, the coarser scales split it in halves'
            )
        depths = block_depths(num_blocks, base, step, step_mode)
        self.exit_index = exit_index
        self.num_exits = check_exit_index(exit_index, num_blocks)
        scales, total = len(growth_factor), sum(depths)
        if prune == 'min' and total < scales:
            raise ConfigError(
                f'prune="min": {total} layers cannot drop {scales} scales'
            )
        factors = [f if bottleneck else None for f in bottleneck_factor]

        built = sum(depths[: self.num_exits])
        width, layer = base_channels, 0
        channels = [width * f for f in growth_factor]
        self.blocks = nn.ModuleList()
        exit_channels = []
        for i in range(self.num_exits):
            block = nn.ModuleList()
            if i == 0:
                block.append(_Stem(stem, in_channels, channels))
            for _ in range(depths[i]):
                layer += 1
                into, out = scales_of_layer(layer, total, scales, prune)
                left = growth_factor[scales - out :]
                growth = [growth_rate * f for f in left]
                # A cut net's exit reads the coarsest scale alone, of the last layer;
                # each layer before it has to serve one scale more.
                idle = 0 if exit_index is None else max(0, out - built + layer - 1)
                block.append(MSDLayer(channels, growth, factors[scales - into :], idle))
                width += growth_rate
                channels = [width * f for f in left]
                if reduction > 0 and has_transition(layer, total, scales, prune):
                    width = math.floor(width * reduction)
                    reduced = [width * f for f in left]
                    block.append(MSDTransition(channels, reduced, idle))
                    channels = reduced
            self.blocks.append(block)
            exit_channels.append(channels[-1])
        self.exit_channels = tuple(exit_channels)

    def _capacities(self, begin: nn.Module) -> list[int]:
        """Channels per scale that the stacks begun by this module grow to."""
        modules = [m for block in self.blocks for m in block]
        reached = list(begin.channels)
        for module in modules[modules.index(begin) + 1 :]:
            if not isinstance(module, MSDLayer):
                break
            for i, growth in enumerate(reversed(module.growth), start=1):
                reached[-i] += growth
        return reached

    def init_state(self, x: Tensor) -> _State:
        stem = self.blocks[0][0]
        return _State(0, self._begin(stem, stem(x)))

    def _begin(self, module: nn.Module, maps: Sequence[Tensor]) -> list[ChannelStack]:
        folded = can_fold(self, maps[0])
        widths = self._capacities(module) if folded else [None] * len(maps)
        return [ChannelStack(x, width) for x, width in zip(maps, widths)]

    def step(self, state: _State) -> tuple[Tensor, _State]:
        stacks = state.stacks
        for module in self.blocks[state.block]:
            if isinstance(module, MSDLayer):
                stacks = module(stacks)
            elif isinstance(module, MSDTransition):
                stacks = self._begin(module, module(stacks))
        return stacks[-1].prefix(), _State(state.block + 1, stacks)

    def select(self, state: _State, index: Tensor) -> _State:
        return replace(state, stacks=[s.select(index) for s in state.stacks])


def block_depths(num_blocks: int, base: int, step: int, step_mode: str) -> list[int]:
    """Return the layers of every block.

    Raises:
        ValueError: unknown ``step_mode`` or a block without layers.
    """
    if step_mode == 'even':
        depths = [base] + [step] * (num_blocks - 1)
    elif step_mode == 'lin_grow':
        depths = [base] + [step * i + 1 for i in range(1, num_blocks)]
    else:
        raise ConfigError(f"step_mode={step_mode!r}: choose 'even' or 'lin_grow'")
    if num_blocks < 1 or min(depths) < 1:
        raise ConfigError(
            f'num_blocks={num_blocks}, base={base}, step={step}: a block lacks layers'
        )
    return depths


def scales_of_layer(layer: int, total: int, scales: int, prune: str) -> tuple[int, int]:
    """Return how many scales come into and go out of a layer (counted from 1).

    Raises:
        ValueError: unknown ``prune``.
    """
    if prune == 'max':
        span = math.ceil(total / scales)
        return scales - max(0, layer - 2) // span, scales - (layer - 1) // span
    if prune == 'min':
        return min(scales, total - layer + 2), min(scales, total - layer + 1)
    raise ConfigError(f"prune={prune!r}: choose 'max' or 'min'")


def has_transition(layer: int, total: int, scales: int, prune: str) -> bool:
    """Whether a transition follows a layer (counted from 1)."""
    if prune == 'min':
        return layer in (total // 3, 2 * total // 3)
    into, out = scales_of_layer(layer, total, scales, prune)
    return out < into
