"""What a latency model has to know of a network: its blocks and static layers."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from dynnet.utils.errors import ConfigError

LAYERS = ('conv', 'linear', 'max_pool', 'avg_pool', 'add', 'scale', 'pointwise')


@dataclass(frozen=True)
class LayerSpec:
    """A static layer.

    Attributes:
        kind: ``'conv'``, ``'linear'``, ``'max_pool'``, ``'avg_pool'``, ``'add'`` (two
            maps), ``'scale'`` (channels times a vector) or ``'pointwise'`` (one map in
            place: ReLU, BN).
        in_channels: Channels, or features, of the input.
        out_channels: Those of the output.
        in_size: (height, width) of the input.
        out_size: (height, width) of the output.
        kernel: Side of the kernel.
        stride: Stride.
        groups: Groups of a convolution.
        name: What it is called in reports.
    """

    kind: str
    in_channels: int
    out_channels: int
    in_size: tuple[int, int] = (1, 1)
    out_size: tuple[int, int] = (1, 1)
    kernel: int = 1
    stride: int = 1
    groups: int = 1
    name: str = ''

    def __post_init__(self) -> None:
        if self.kind not in LAYERS:
            raise ConfigError(f'layer kind {self.kind!r}: one of {", ".join(LAYERS)}')

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one picture; 0 where a layer only moves data."""
        if self.kind not in ('conv', 'linear'):
            return 0
        fan_in = self.in_channels // self.groups * self.kernel**2
        return fan_in * self.out_channels * self.out_size[0] * self.out_size[1]

    @property
    def weight_bytes(self) -> int:
        """Bytes of the float32 weights."""
        if self.kind not in ('conv', 'linear'):
            return 0
        fan_in = self.in_channels // self.groups * self.kernel**2
        return 4 * fan_in * self.out_channels


@dataclass(frozen=True)
class BlockSpec:
    """A residual bottleneck: 1 x 1, 3 x 3 (with the stride), 1 x 1.

    Attributes:
        name: As in the network, such as ``'layer3.0'``.
        stage: Stage, from 0.
        in_channels: Of the block's input.
        mid_channels: Between its convolutions.
        out_channels: Of its output.
        out_size: (height, width) of its output.
        stride: Of the 3 x 3 convolution.
        groups: Of the 3 x 3 convolution.
        projection: Whether the identity goes through a 1 x 1 convolution.
        squeeze: Channels of squeeze and excitation; 0 is none.
        granularity: Side S of a patch; 0: the block is static.
        gate: ``'spatial'``, or ``'layer'``: the whole map is one patch.
    """

    name: str
    stage: int
    in_channels: int
    mid_channels: int
    out_channels: int
    out_size: tuple[int, int]
    stride: int = 1
    groups: int = 1
    projection: bool = False
    squeeze: int = 0
    granularity: int = 0
    gate: str = 'spatial'

    def __post_init__(self) -> None:
        for name in ('in_channels', 'mid_channels', 'out_channels', 'stride', 'groups'):
            if getattr(self, name) < 1:
                raise ConfigError(
                    f'block {self.name!r}: {name}={getattr(self, name)} must be at '
                    'least 1'
                )
        if min(self.out_size) < 1:
            raise ConfigError(f'block {self.name!r}: empty map {self.out_size}')
        if self.granularity < 0:
            raise ConfigError(
                f'block {self.name!r}: granularity={self.granularity} must not be '
                'negative'
            )

    @property
    def in_size(self) -> tuple[int, int]:
        """(height, width) of the input."""
        return self.out_size[0] * self.stride, self.out_size[1] * self.stride

    @property
    def cells(self) -> tuple[int, int]:
        """(height, width) of the gate's grid; as published, it is floored."""
        if self.gate == 'layer':
            return 1, 1
        side = max(1, self.granularity)
        return max(1, self.out_size[0] // side), max(1, self.out_size[1] // side)

    @property
    def weight_bytes(self) -> int:
        """Bytes of the float32 weights of the convolutions."""
        return sum(layer.weight_bytes for layer in self.convs())

    def convs(self) -> list[LayerSpec]:
        """The block's convolutions, dense; the projection comes last."""
        mid = self.mid_channels
        layers = [
            LayerSpec('conv', self.in_channels, mid, self.in_size, self.in_size),
            LayerSpec(
                'conv', mid, mid, self.in_size, self.out_size, 3, self.stride,
                self.groups,
            ),
            LayerSpec('conv', mid, self.out_channels, self.out_size, self.out_size),
        ]  # fmt: skip
        if self.projection:
            layers.append(
                LayerSpec(
                    'conv', self.in_channels, self.out_channels, self.in_size,
                    self.out_size, 1, self.stride,
                )
            )  # fmt: skip
        names = ('conv1', 'conv2', 'conv3', 'projection')
        return [replace(layer, name=name) for layer, name in zip(layers, names)]


@dataclass(frozen=True)
class NetworkSpec:
    """A network of residual blocks between a stem and a head.

    Attributes:
        name: What it is called.
        blocks: In the order they run.
        stem: Layers before the blocks.
        head: Layers after them.
    """

    name: str
    blocks: tuple[BlockSpec, ...]
    stem: tuple[LayerSpec, ...] = ()
    head: tuple[LayerSpec, ...] = ()

    @property
    def num_stages(self) -> int:
        return max((block.stage + 1 for block in self.blocks), default=0)

    @property
    def weight_bytes(self) -> int:
        """Bytes of the float32 weights."""
        parts = (*self.stem, *self.blocks, *self.head)
        return sum(part.weight_bytes for part in parts)

    @property
    def granularity(self) -> tuple[int, ...]:
        """S of each stage."""
        return tuple(
            next(b.granularity for b in self.blocks if b.stage == stage)
            for stage in range(self.num_stages)
        )

    def with_granularity(self, granularity: Sequence[int] | int) -> 'NetworkSpec':
        """The same network with other patches.

        Args:
            granularity: S of each stage, or one for all; 0 makes blocks static.

        Raises:
            ConfigError: Not one for each stage.
        """
        if isinstance(granularity, int):
            granularity = (granularity,) * self.num_stages
        if len(granularity) != self.num_stages:
            raise ConfigError(
                f'granularity {tuple(granularity)} must have one entry for each of the '
                f'{self.num_stages} stages of {self.name}'
            )
        blocks = [replace(b, granularity=granularity[b.stage]) for b in self.blocks]
        return replace(self, blocks=tuple(blocks))


RESNETS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}
# depths, widths, channels per group, stem (RegNetY)
REGNETS = {
    'regnety_400mf': ((1, 3, 6, 6), (48, 104, 208, 440), 8, 32),
    'regnety_800mf': ((1, 3, 8, 2), (64, 144, 320, 784), 16, 32),
}


def resnet_spec(
    depth: int,
    granularity: Sequence[int] | int = (4, 4, 2, 1),
    input_size: tuple[int, int] = (224, 224),
    num_classes: int = 1000,
) -> NetworkSpec:
    """Describe a (LAS-)ResNet for ImageNet.

    Args:
        depth: 50, 101 or 152.
        granularity: S of each stage; 0 makes a stage static.
        input_size: (height, width) of the picture, multiples of 32.
        num_classes: Of the head.

    Raises:
        ConfigError: Unknown depth, or not one granularity per stage.
    """
    if depth not in RESNETS:
        raise ConfigError(f'ResNet of depth {depth}: choose from {sorted(RESNETS)}')
    half = _divide(input_size, 2)
    size = _divide(input_size, 4)
    stem = (
        LayerSpec('conv', 3, 64, tuple(input_size), half, 7, 2, name='stem.conv'),
        LayerSpec('max_pool', 64, 64, half, size, 3, 2, name='stem.max_pool'),
    )
    blocks, channels = [], 64
    for stage, count in enumerate(RESNETS[depth]):
        mid = 64 << stage
        for j in range(count):
            stride = 2 if stage and not j else 1
            size = _divide(size, stride)
            blocks.append(
                BlockSpec(
                    f'layer{stage + 1}.{j}', stage, channels, mid, 4 * mid, size,
                    stride, projection=not j,
                )
            )  # fmt: skip
            channels = 4 * mid
    head = classifier(channels, size, num_classes)
    spec = NetworkSpec(f'resnet{depth}', tuple(blocks), stem, head)
    return spec.with_granularity(granularity)


def regnet_spec(
    arch: str,
    granularity: Sequence[int] | int = (4, 4, 2, 1),
    input_size: tuple[int, int] = (224, 224),
    num_classes: int = 1000,
) -> NetworkSpec:
    """Describe a (LAS-)RegNetY.

    Args:
        arch: ``'regnety_400mf'`` or ``'regnety_800mf'``.
        granularity: S of each stage; 0 makes a stage static.
        input_size: (height, width) of the picture, multiples of 32.
        num_classes: Of the head.

    Raises:
        ConfigError: Unknown architecture, or not one granularity per stage.
    """
    if arch not in REGNETS:
        raise ConfigError(f'RegNet {arch!r}: choose from {", ".join(REGNETS)}')
    depths, widths, group, channels = REGNETS[arch]
    size = _divide(input_size, 2)
    stem = (LayerSpec('conv', 3, channels, tuple(input_size), size, 3, 2, name='stem'),)
    blocks = []
    for stage, (count, width) in enumerate(zip(depths, widths)):
        for j in range(count):
            stride = 1 if j else 2
            size = _divide(size, stride)
            blocks.append(
                BlockSpec(
                    f'layer{stage + 1}.{j}', stage, channels, width, width, size,
                    stride, width // group, not j, round(0.25 * channels),
                )
            )  # fmt: skip
            channels = width
    head = classifier(channels, size, num_classes)
    spec = NetworkSpec(arch, tuple(blocks), stem, head)
    return spec.with_granularity(granularity)


def classifier(
    channels: int, size: tuple[int, int], num_classes: int
) -> tuple[LayerSpec, ...]:
    """Global average pooling and a linear layer."""
    return (
        LayerSpec('avg_pool', channels, channels, size, name='head.pool'),
        LayerSpec('linear', channels, num_classes, name='head.fc'),
    )


def _divide(size: Sequence[int], stride: int) -> tuple[int, int]:
    height, width = size
    return -(-height // stride), -(-width // stride)
