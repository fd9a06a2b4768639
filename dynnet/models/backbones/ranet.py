"""Resolution Adaptive Network, https://arxiv.org/abs/2003.07326."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch.nn.functional as F
from torch import Tensor, nn

from dynnet.registry import MODELS
from dynnet.utils.errors import ConfigError
from dynnet.utils.folding import can_fold

from ..layers import Bottleneck, ChannelStack, ConvBNReLU
from .base import MultiExitBackbone, check_exit_index
from .stem import build_stem

# A feature is handed upward as (stack, width): the stack's first channels.
Feature = tuple[ChannelStack, int]


def resize_to(x: Tensor, like: Tensor) -> Tensor:
    """Bilinear resize to ``like``'s size; the same tensor if the size is right.

    With align_corners an equal-size resize is an exact copy, and half of the time of a
    net that does it anyway.
    """
    if x.shape[-2:] == like.shape[-2:]:
        return x
    return F.interpolate(x, like.shape[-2:], mode='bilinear', align_corners=True)


class _Layer(nn.Module):
    """One layer of a dense block; ``conv_up`` reads the lower sub-network's feature."""

    def __init__(self, conv_normal: Bottleneck, conv_up: Bottleneck | None = None):
        super().__init__()
        if conv_up is not None:  # registered first, as in the published layout
            self.conv_up = conv_up
        self.conv_normal = conv_normal


class RANetBlock(nn.Module):
    """A dense block; with ``lower_widths`` a fusion block (paper, section 3.2).

    Args:
        in_channels: Channels n of the input.
        num_layers: Layers L.
        growth: Channels g that every layer adds.
        factor: Bottleneck factor of this sub-network.
        reduce: Whether a 1x1 convolution halves the width at the end.
        reduction: What it leaves of the width.
        lower_widths: Channels of the lower sub-network's L + 1 features of the same
            block; None for a plain block.
        lower_factor: Bottleneck factor of the lower sub-network.
        compress: Share of the growth that is taken from the lower features.
        down: Whether the last layer halves the resolution.

    Attributes:
        widths: Channels of the L + 1 features handed upward.
        out_channels: Channels of the output.
    """

    def __init__(
        self,
        in_channels: int,
        num_layers: int,
        growth: int,
        factor: int,
        reduce: bool,
        reduction: float,
        lower_widths: Sequence[int] | None = None,
        lower_factor: int = 1,
        compress: float = 0.25,
        down: bool = False,
    ) -> None:
        super().__init__()
        self.down = down
        self.widths = [in_channels + i * growth for i in range(num_layers + 1)]
        width = self.widths[-1]
        borrowed = math.floor(growth * compress) if lower_widths else 0
        self.layers = nn.ModuleList()
        for i in range(num_layers):
            stride = 2 if down and i == num_layers - 1 else 1
            normal = Bottleneck(self.widths[i], growth - borrowed, factor, stride)
            up = None
            if lower_widths:
                up = Bottleneck(lower_widths[i], borrowed, lower_factor)
            self.layers.append(_Layer(normal, up))
        self.conv_last = None
        if lower_widths:
            added = math.floor(width * compress)
            self.conv_last = ConvBNReLU(lower_widths[-1], added, 1)
            width += added
        self.full_width = width
        self.trans = None
        if reduce:
            self.trans = ConvBNReLU(width, math.floor(reduction * width), 1)
            width = math.floor(reduction * width)
        self.out_channels = width

    def forward(
        self,
        stack: ChannelStack,
        lower: list[Feature] | None = None,
        capacity: int = 0,
    ) -> tuple[ChannelStack, list[Feature]]:
        """Run the block.

        Args:
            stack: Input, n channels; it is extended in place.
            lower: The lower sub-network's features of this block.
            capacity: Channels that the output's stack has to hold in the end.

        Returns:
            Output, and the L + 1 features for the next sub-network.
        """
        folded = can_fold(self, stack.prefix())
        feats = [(stack, stack.width)]
        for i, layer in enumerate(self.layers):
            x = stack.prefix()
            new = _run(layer.conv_normal, x, folded)
            if self.down and i == len(self.layers) - 1:
                width = self.full_width if self.trans is not None else capacity
                stack = ChannelStack(resize_to(x, new), width if folded else None)
            if lower is not None:
                low, width = lower[i]
                up = _run(layer.conv_up, low.prefix(width), folded)
                # a ReLU commutes with no resize: it comes before one
                _append(stack, up, new, folded)
            _append(stack, new, new, folded)
            feats.append((stack, stack.width))
        if self.conv_last is not None:
            low, width = lower[-1]
            last = _run(self.conv_last, low.prefix(width), folded)
            _append(stack, last, stack.prefix(), folded)
        if self.trans is not None:
            stack = ChannelStack(
                self.trans(stack.prefix()), capacity if folded else None
            )
        return stack, feats


def _run(unit: nn.Module, x: Tensor, folded: bool) -> Tensor:
    """The unit's output; in the folded path its last ReLU is left to `_append`."""
    return unit.infer(x) if folded else unit(x)


def _append(stack: ChannelStack, x: Tensor, like: Tensor, folded: bool) -> None:
    resized = x.shape[-2:] != like.shape[-2:]
    if not folded:
        stack.append(resize_to(x, like))
    elif resized:
        stack.append(resize_to(x.relu_(), like))
    else:
        stack.append_relu(x)


@dataclass
class _State:
    """Where a RANet stands: the next block, and all that later blocks read."""

    sub: int
    block: int
    stack: ChannelStack
    inputs: list[Tensor]  # stem outputs of the sub-networks still to come
    lower: list[list[Feature]]  # features of the previous sub-network, block by block
    feats: list[list[Feature]]  # of the current one so far


@MODELS.register_module()
class RANet(MultiExitBackbone):
    """Resolution Adaptive Network.

    Sub-networks from the lowest resolution (widest) to the highest: a sample that is
    not recognised at a low resolution goes on at a higher one, where fusion blocks
    reuse the low-resolution features (paper, section 3).

    Args:
        stem: 'cifar' (32 px) or 'imagenet' (224 px).
        num_blocks: Blocks of the first sub-network.
        block_step: Blocks that every further sub-network has more.
        step: Layers per block ('even'), or of block b ``b * step`` ('lg').
        step_mode: 'even' or 'lg' (linear growth).
        base_channels: Channels of the stem for a growth factor of 1.
        growth_rate: Channels a layer adds for a growth factor of 1.
        growth_factor: Width factor per sub-network, low resolution first.
        bottleneck_factor: Bottleneck factor per sub-network.
        scale_list: Scale per sub-network: 1 is the lowest resolution, every further
            value doubles it. Starts at 1 once, rises by 0 or 1.
        compress_factor: Share of a fusion layer's growth taken from below.
        reduction: What a transition leaves of the channels.
        in_channels: Channels of the picture.
        exit_index: Build and return only what this exit (from 0) needs.
        init_cfg: mmengine's initialisation config.

    Raises:
        ValueError: arguments that do not describe a RANet, named.
    """

    def __init__(
        self,
        stem: str = 'cifar',
        num_blocks: int = 2,
        block_step: int = 2,
        step: int = 4,
        step_mode: str = 'even',
        base_channels: int = 16,
        growth_rate: int = 6,
        growth_factor: Sequence[int] = (4, 2, 1),
        bottleneck_factor: Sequence[int] = (4, 2, 1),
        scale_list: Sequence[int] = (1, 2, 3),
        compress_factor: float = 0.25,
        reduction: float = 0.5,
        in_channels: int = 3,
        exit_index: int | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        _check(growth_factor, bottleneck_factor, scale_list, step, step_mode)
        subs = len(scale_list)
        if num_blocks < 1 or (subs > 1 and block_step < 1):
            raise ConfigError(
                f'num_blocks={num_blocks}, block_step={block_step}: the first '
                'sub-network needs a block, every further one at least one more'
            )
        blocks = [num_blocks + s * block_step for s in range(subs)]
        self.exit_index = exit_index
        self.num_exits = check_exit_index(exit_index, blocks[-1])

        self.FirstLayer = _Stem(
            stem, in_channels, base_channels, growth_factor, scale_list
        )
        self.scale_flows = nn.ModuleList()
        exit_channels: list[int] = []
        lower: list[list[int]] = []
        for s in range(subs):
            fused = blocks[s - 1] if s else 0
            if fused >= self.num_exits:
                break
            flow, widths = nn.ModuleList(), []
            channels = base_channels * growth_factor[s]
            starts = [0] + blocks[:s]  # only ends of lower sub-networks stride
            downs = starts[len(starts) - (scale_list[s] - 1) :]
            for b in range(1, min(blocks[s], self.num_exits) + 1):
                scale = scale_list[s]
                block = RANetBlock(
                    channels,
                    step if step_mode == 'even' else b * step,
                    growth_rate * growth_factor[s],
                    bottleneck_factor[s],
                    reduce=b in [i * blocks[s] // scale for i in range(1, scale)],
                    reduction=reduction,
                    lower_widths=lower[b - 1] if b <= fused else None,
                    lower_factor=bottleneck_factor[s - 1],
                    compress=compress_factor,
                    down=b <= fused and b in downs,
                )
                flow.append(block)
                widths.append(block.widths)
                channels = block.out_channels
                if b > fused:
                    exit_channels.append(channels)
            self.scale_flows.append(flow)
            lower = widths
        self.exit_channels = tuple(exit_channels)
        self._reset_parameters()

    def _reset_parameters(self) -> None:
        """He initialisation (fan out) below the stem, which keeps PyTorch's."""
        for module in self.scale_flows.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode='fan_out')

    def init_state(self, x: Tensor) -> _State:
        inputs = self.FirstLayer(x)[: len(self.scale_flows)]
        stack = self._enter(inputs[0], 0)
        return _State(0, 0, stack, inputs[1:], [], [])

    def step(self, state: _State) -> tuple[Tensor, _State]:
        sub, block, stack = state.sub, state.block, state.stack
        inputs, lower, feats = state.inputs, state.lower, list(state.feats)
        if block == len(self.scale_flows[sub]):
            sub, block, lower, feats = sub + 1, 0, feats, []
            stack, inputs = self._enter(inputs[0], sub), inputs[1:]
        flow = self.scale_flows[sub]
        for b in range(block, max(block, len(lower)) + 1):
            stack, handed = flow[b](
                stack,
                lower[b] if b < len(lower) else None,
                self._capacity(sub, b + 1),
            )
            feats.append(handed)
            block = b + 1
        rest = [[] for _ in lower]  # read for the last time: let the memory go
        return stack.prefix(), _State(sub, block, stack, inputs, rest, feats)

    def _capacity(self, sub: int, block: int) -> int:
        """Channels of a stack that enters this block, when it will be left."""
        flow = self.scale_flows[sub]
        if block == len(flow):
            return flow[-1].out_channels
        entered = flow[block]
        if entered.down:
            return entered.widths[-2]
        if entered.trans is not None:
            return entered.full_width
        return self._capacity(sub, block + 1)

    def _enter(self, x: Tensor, sub: int) -> ChannelStack:
        return ChannelStack(x, self._capacity(sub, 0) if can_fold(self, x) else None)

    def select(self, state: _State, index: Tensor) -> _State:
        moved = {}

        def keep(stack: ChannelStack) -> ChannelStack:
            if id(stack) not in moved:
                moved[id(stack)] = stack.select(index)
            return moved[id(stack)]

        def keep_all(blocks: list[list[Feature]]) -> list[list[Feature]]:
            return [[(keep(s), width) for s, width in block] for block in blocks]

        return replace(
            state,
            stack=keep(state.stack),
            inputs=[x.index_select(0, index) for x in state.inputs],
            lower=keep_all(state.lower),
            feats=keep_all(state.feats),
        )


class _Stem(nn.Module):
    """Inputs of all sub-networks, computed from the highest resolution down."""

    def __init__(
        self,
        kind: str,
        in_channels: int,
        base_channels: int,
        factors: Sequence[int],
        scales: Sequence[int],
    ) -> None:
        super().__init__()
        widths = [base_channels * f for f in reversed(factors)]
        scales = list(reversed(scales))
        self.layers = nn.ModuleList([build_stem(kind, in_channels, widths[0])])
        for j in range(1, len(widths)):
            stride = 1 if scales[j] == scales[j - 1] else 2
            self.layers.append(ConvBNReLU(widths[j - 1], widths[j], stride=stride))

    def forward(self, x: Tensor) -> list[Tensor]:
        """Map a picture to one input per sub-network, low resolution first."""
        outs = []
        for layer in self.layers:
            x = layer(x)
            outs.append(x)
        return outs[::-1]


def _check(
    growth: Sequence[int],
    bottleneck: Sequence[int],
    scales: Sequence[int],
    step: int,
    step_mode: str,
) -> None:
    if not len(growth) == len(bottleneck) == len(scales):
        raise ConfigError(
            'growth_factor, bottleneck_factor and scale_list need one value per '
            f'sub-network, got {tuple(growth)}, {tuple(bottleneck)}, {tuple(scales)}'
        )
    rises = [b - a for a, b in zip(scales, scales[1:])]
    if (
        list(scales[:1]) != [1]
        or 1 in scales[1:]
        or any(r not in (0, 1) for r in rises)
    ):
        raise ConfigError(
            f'scale_list={list(scales)}: it starts with 1, which stands once, and '
            'rises by 0 or 1, as in [1, 2, 3, 3]'
        )
    if step_mode not in ('even', 'lg'):
        raise ConfigError(f"step_mode={step_mode!r}: choose 'even' or 'lg'")
    if step < 2:
        raise ConfigError(f'step={step}: a block needs at least 2 layers')
