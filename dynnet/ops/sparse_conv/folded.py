"""Residual blocks with BN folded in, as the sparse kernels take them."""

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from dynnet.utils.folding import FoldCache, WeightAndBias


@dataclass(eq=False)
class FoldedConv:
    """A convolution with bias, BN folded in. Its tensors are never written again.

    Attributes:
        weight: (O, I / groups, k, k).
        bias: (O,).
        stride: Stride, the same in both directions.
        padding: Zeros at each border.
        dilation: Dilation.
        groups: Groups.
        layouts: What backends made of the weight (packed, transposed), by their key.
    """

    weight: Tensor
    bias: Tensor
    stride: int = 1
    padding: int = 0
    dilation: int = 1
    groups: int = 1
    layouts: dict = field(default_factory=dict, repr=False)

    @property
    def in_channels(self) -> int:
        return self.weight.shape[1] * self.groups

    @property
    def out_channels(self) -> int:
        return self.weight.shape[0]

    @property
    def kernel_size(self) -> int:
        return self.weight.shape[2]

    def out_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """Return the output map's size for an input map's."""
        reach = self.dilation * (self.kernel_size - 1) + 1
        h, w = ((n + 2 * self.padding - reach) // self.stride + 1 for n in size)
        return h, w

    def dense(self, x: Tensor) -> Tensor:
        """Convolve a whole map (B, I, H, W)."""
        return F.conv2d(
            x,
            self.weight,
            self.bias,
            self.stride,
            self.padding,
            self.dilation,
            self.groups,
        )

    def matrix(self) -> Tensor:
        """Return the weight as a matrix (k * k * I, O) for gathered rows.

        Row ``(ky * k + kx) * I + i`` belongs to input channel i of tap (ky, kx).
        """
        if self.weight.requires_grad:
            return self._matrix()
        if 'matrix' not in self.layouts:
            with torch.inference_mode(False):
                self.layouts['matrix'] = self._matrix().contiguous()
        return self.layouts['matrix']

    def _matrix(self) -> Tensor:
        return self.weight.permute(2, 3, 1, 0).reshape(-1, self.out_channels)


@dataclass(eq=False)
class FoldedBlock:
    """A residual block: ``relu(shortcut(x) + mask * convs(x))``, ReLU between convs.

    Attributes:
        convs: The branch: (1x1, 3x3, 1x1) of a bottleneck or (3x3, 3x3) of a basic
            block. A stride may be at the first or at the second.
        shortcut: 1x1 projection of the input, or None.
        pool: Average pooling before the projection (ResNet-V1d), or None.
    """

    convs: tuple[FoldedConv, ...]
    shortcut: FoldedConv | None = None
    pool: nn.Module | None = None

    def __post_init__(self) -> None:
        kernels = tuple(conv.kernel_size for conv in self.convs)
        if kernels not in ((1, 3, 1), (3, 3)):
            raise ValueError(f'a bottleneck or a basic block, not kernels {kernels}')
        if self.shortcut is None and (
            self.stride != 1 or self.in_channels != self.out_channels
        ):
            raise ValueError('a block without projection must keep size and channels')

    @property
    def in_channels(self) -> int:
        return self.convs[0].in_channels

    @property
    def out_channels(self) -> int:
        return self.convs[-1].out_channels

    @property
    def stride(self) -> int:
        return self.convs[0].stride * self.convs[1].stride

    @property
    def groups(self) -> int:
        return max(conv.groups for conv in self.convs)

    def out_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """Return the output map's size for an input map's."""
        for conv in self.convs:
            size = conv.out_size(size)
        return size

    def identity(self, x: Tensor) -> Tensor:
        """Return what the branch is added to; ``x`` itself without a projection."""
        if self.pool is not None:
            x = self.pool(x)
        return x if self.shortcut is None else self.shortcut.dense(x)


def _geometry(conv: nn.Conv2d) -> dict:
    """Return a convolution's settings, refusing what the kernels cannot do."""
    name = f'{type(conv).__module__}.{type(conv).__qualname__}'
    if not isinstance(conv, nn.Conv2d) or type(conv).__name__ != 'Conv2d':
        raise ValueError(f'only a plain Conv2d can be executed sparsely, not {name}')
    pairs = (conv.kernel_size, conv.stride, conv.padding, conv.dilation)
    if conv.padding_mode != 'zeros' or not all(
        isinstance(pair, tuple) and pair[0] == pair[1] for pair in pairs
    ):
        raise ValueError(f'only a square convolution with zero padding, not {conv}')
    kernel, stride, padding, dilation = (pair[0] for pair in pairs)
    if padding != dilation * (kernel // 2):
        raise ValueError(f'only a convolution that pads for its kernel, not {conv}')
    return dict(stride=stride, padding=padding, dilation=dilation, groups=conv.groups)


def _branch(block: nn.Module) -> list[tuple[nn.Conv2d, _BatchNorm]]:
    """Return the (conv, BN) pairs of a residual block of mm or of torchvision."""
    pairs = []
    for i in (1, 2, 3):
        conv = getattr(block, f'conv{i}', None)
        norm = getattr(block, f'norm{i}', None) or getattr(block, f'bn{i}', None)
        if conv is not None:
            pairs.append((conv, norm))
    if getattr(block, 'with_plugins', False):
        raise ValueError('a block with plugins cannot be executed sparsely')
    if not isinstance(getattr(block, 'relu', None), nn.ReLU):
        raise ValueError(f'{type(block).__name__} has no ReLU')
    return pairs


def _shortcut(block: nn.Module) -> tuple[nn.Module | None, list]:
    """Return the pooling before the projection and the projection's (conv, BN)."""
    downsample = getattr(block, 'downsample', None)
    if downsample is None:
        return None, []
    parts = list(downsample)
    pool = parts.pop(0) if isinstance(parts[0], nn.AvgPool2d) else None
    if len(parts) != 2:
        raise ValueError(f'only a projection by conv and BN, not {downsample}')
    return pool, [tuple(parts)]


def _own(value: WeightAndBias) -> WeightAndBias:
    """Return channels-last copies that may take part in autograd (not inference
    tensors, wherever they were folded)."""
    weight, bias = value
    with torch.inference_mode(False):
        weight = weight.clone(memory_format=torch.channels_last)
        return weight, bias.clone()


class FoldedBlockCache:
    """The folded form of one residual block, rebuilt when a source tensor changes.

    Staleness is seen as :class:`dynnet.utils.folding.FoldCache` sees it; so the owner
    calls :meth:`clear` when its mode is set (``train``/``eval``): writes through
    ``tensor.data`` leave no trace. Copies and pickles start empty.
    """

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Forget the folded weights."""
        self._caches: list[FoldCache] = []
        self._parts: list = []
        self._block: FoldedBlock | None = None

    def get(self, block: nn.Module) -> FoldedBlock:
        """Return the folded form of a BasicBlock or Bottleneck in eval mode.

        Args:
            block: Of mmpretrain's, mmdet's or torchvision's ResNet, or like them:
                ``conv1, norm1 (or bn1), ..., relu, downsample``.

        Returns:
            The same object until a weight or statistic changes.

        Raises:
            ValueError: The block has a part that the kernels cannot execute; the
                message names it.
        """
        pairs = _branch(block)
        pool, projection = _shortcut(block)
        pairs += projection
        if len(self._caches) != len(pairs):
            self._caches = [FoldCache() for _ in pairs]
            self._block = None
        parts = []
        for cache, (conv, norm) in zip(self._caches, pairs):
            if not isinstance(norm, _BatchNorm):
                raise ValueError(f'only BN can be folded, not {type(norm).__name__}')
            parts.append(cache.get(conv, norm, _own))
        known = self._block is not None and pool is self._block.pool
        if known and all(a is b for a, b in zip(parts, self._parts)):
            return self._block
        convs = [
            FoldedConv(*part, **_geometry(conv))
            for part, (conv, _) in zip(parts, pairs)
        ]
        shortcut = convs.pop() if projection else None
        self._parts, self._block = parts, FoldedBlock(tuple(convs), shortcut, pool)
        return self._block

    def __deepcopy__(self, memo: dict) -> 'FoldedBlockCache':
        return FoldedBlockCache()

    def __reduce__(self) -> tuple:
        return FoldedBlockCache, ()


def fold_block(block: nn.Module) -> FoldedBlock:
    """Fold a residual block once; see :class:`FoldedBlockCache` for keeping it."""
    return FoldedBlockCache().get(block)
