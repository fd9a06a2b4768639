"""The two convolution units that MSDNet and RANet are made of."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dynnet.utils.errors import ConfigError
from dynnet.utils.folding import FoldCache, WeightAndBias, can_fold


def _two_formats(pair: WeightAndBias) -> tuple[Tensor, Tensor, Tensor]:
    weight, bias = pair
    return weight, weight.contiguous(memory_format=torch.channels_last), bias


def _matrix(pair: WeightAndBias) -> WeightAndBias:
    """Lay a 1x1 kernel (O, I, 1, 1) out as matrices (O, I) and (O, 1)."""
    return pair[0].flatten(1), pair[1].view(-1, 1)


def pointwise(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """A 1x1 convolution of maps that may be the first channels of a wider buffer.

    Planes (contiguous, or the first of more planes) are multiplied as they lie, one
    matrix product per sample, so nothing is copied: for the thin layers of these nets
    faster than a convolution. Channels-last maps are rows: few of them make one
    product, of many the convolution is the fastest although it copies them.

    Args:
        x: (N, I, H, W).
        weight: (O, I).
        bias: (O, 1).

    Returns:
        (N, O, H, W), in the memory format of ``x``.
    """
    n, width, h, w = x.shape
    if width > 1 and x.stride(1) == 1:
        if n * h * w > _FEW_ROWS:
            return F.conv2d(x, weight[..., None, None], bias.view(-1))
        rows = x.permute(0, 2, 3, 1).reshape(-1, width)
        product = F.linear(rows, weight, bias.view(-1))
        return product.view(n, h, w, -1).permute(0, 3, 1, 2)
    if n == 1:
        product = torch.addmm(bias, weight, x[0].flatten(1))
    else:
        product = torch.baddbmm(
            bias.expand(n, -1, -1), weight.expand(n, -1, -1), x.flatten(2)
        )
    return product.view(n, len(weight), h, w)


# Up to so many rows, one matrix product is faster than a convolution.
_FEW_ROWS = 2048


def spatial(
    x: Tensor, weight: Tensor, weight_cl: Tensor, bias: Tensor, conv: nn.Conv2d
) -> Tensor:
    """A k x k convolution with folded weights, in the faster of two memory formats.

    That is channels-last, except for a single sample on a large map: thin as the
    layers are, the plain format is up to three times as fast there.
    """
    n, _, h, w = x.shape
    if n > 1 or h * w <= 64 or conv.stride != (1, 1):
        x, weight = x.contiguous(memory_format=torch.channels_last), weight_cl
    return F.conv2d(x, weight, bias, conv.stride, conv.padding)


class _FoldedUnit(nn.Module):
    """Conv, BN, ReLU triples in ``net``; in inference the BNs are folded."""

    def __init__(self, *modules: nn.Module) -> None:
        super().__init__()
        self.net = nn.Sequential(*modules)
        self._folds = [FoldCache() for _ in range(len(self.net) // 3)]

    def train(self, mode: bool = True) -> '_FoldedUnit':
        self._clear()
        return super().train(mode)

    def _clear(self) -> None:
        for fold in self._folds:
            fold.clear()

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, in, H, W) to (N, out, H', W')."""
        if can_fold(self, x):
            return self.infer(x).relu_()
        self._clear()  # with gradients on, an optimizer may be about to step
        return self.net(x)

    def infer(self, x: Tensor) -> Tensor:
        """The output before the last ReLU, by folded weights; no gradient flows."""
        modules = self.net._modules
        for i, fold in enumerate(self._folds):
            if i:
                x = x.relu_()
            x = _infer(modules[_CONV[i]], modules[_BN[i]], fold, x)
        return x


# Names of the convolutions and BNs among the triples.
_CONV, _BN = ('0', '3'), ('1', '4')


def _infer(conv: nn.Conv2d, bn: nn.Module, fold: FoldCache, x: Tensor) -> Tensor:
    if not _foldable(bn):
        return bn(conv(x))  # it normalises by the batch: nothing to fold
    if conv.kernel_size == (1, 1):
        return pointwise(x, *fold.get(conv, bn, _matrix))
    return spatial(x, *fold.get(conv, bn, _two_formats), conv)


def _foldable(bn: nn.Module) -> bool:
    return not bn.training and bn._buffers['running_mean'] is not None


def _conv_bn_relu(
    in_channels: int, out_channels: int, kernel_size: int, stride: int, bias: bool
) -> tuple:
    if out_channels < 1:
        raise ConfigError(
            f'a convolution of {in_channels} channels has no output channel: growth, '
            'compress_factor or reduction leave nothing'
        )
    conv = nn.Conv2d(
        in_channels, out_channels, kernel_size, stride, kernel_size // 2, bias=bias
    )
    return conv, nn.BatchNorm2d(out_channels), nn.ReLU(inplace=True)


class ConvBNReLU(_FoldedUnit):
    """Convolution, batch normalisation, ReLU.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        kernel_size: Side of the kernel; it is padded by half of it.
        stride: Stride.
        bias: Whether the convolution has a bias of its own.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 3,
        stride: int = 1,
        bias: bool = False,
    ) -> None:
        super().__init__(
            *_conv_bn_relu(in_channels, out_channels, kernel_size, stride, bias)
        )


class Bottleneck(_FoldedUnit):
    """A 1x1 convolution to ``factor * out_channels`` (at most the input's width), then
    a 3x3 one, each with BN and ReLU. Without a factor, the 3x3 one alone.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output: of *this* unit, which is a part of a
            layer's growth where the layer is split.
        factor: Inner width in units of ``out_channels``; None for no bottleneck.
        stride: Stride of the 3x3 convolution.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        factor: int | None,
        stride: int = 1,
    ) -> None:
        modules: tuple = ()
        if factor is not None:
            inner = min(in_channels, factor * out_channels)
            modules = _conv_bn_relu(in_channels, inner, 1, 1, False)
            in_channels = inner
        super().__init__(
            *modules, *_conv_bn_relu(in_channels, out_channels, 3, stride, False)
        )

    def infer_from(self, inner: Tensor) -> Tensor:
        """:meth:`infer` from the 1x1 convolution's rectified output on."""
        modules = self.net._modules
        return _infer(modules['3'], modules['4'], self._folds[1], inner)


class SharedPointwise:
    """The 1x1 convolutions of two bottlenecks that read the same maps, as one product.

    Two thin products read the maps twice; one of both widths reads them once.
    """

    def __init__(self) -> None:
        self._parts: tuple = (None, None)
        self._joined: WeightAndBias | None = None

    def __deepcopy__(self, memo: dict) -> 'SharedPointwise':
        return SharedPointwise()

    def __reduce__(self) -> tuple:
        return SharedPointwise, ()

    def __call__(
        self, first: Bottleneck, second: Bottleneck, x: Tensor
    ) -> tuple[Tensor, Tensor] | None:
        """Return both rectified inner maps, or None where BNs cannot be folded."""
        parts = []
        for unit in (first, second):
            modules = unit.net._modules
            if not _foldable(modules['1']):
                return None
            parts.append(unit._folds[0].get(modules['0'], modules['1'], _matrix))
        # The caches hand out the same tuple until they have to fold anew.
        if parts[0] is not self._parts[0] or parts[1] is not self._parts[1]:
            self._joined = tuple(torch.cat(pair) for pair in zip(*parts))
            self._parts = tuple(parts)
        inner = pointwise(x, *self._joined).relu_()
        width = len(parts[0][0])
        return inner[:, :width], inner[:, width:]
