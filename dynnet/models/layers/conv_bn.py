"""The two convolution units that MSDNet and RANet are made of."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dynnet.utils.folding import FoldCache, WeightAndBias, can_fold


def _channels_last(pair: WeightAndBias) -> WeightAndBias:
    return pair[0].contiguous(memory_format=torch.channels_last), pair[1]


def _matrix(pair: WeightAndBias) -> WeightAndBias:
    """Lay a 1x1 kernel (O, I, 1, 1) out as the matrix (I, O) of a product."""
    return pair[0].flatten(1).t().contiguous(), pair[1]


def pointwise(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """A 1x1 convolution as one matrix product over channels-last pixels.

    ``x`` may be the first channels of a wider channels-last buffer: the product reads
    with a row stride, so nothing is copied.

    Args:
        x: (N, I, H, W), best with channels-last strides.
        weight: (I, O).
        bias: (O,).

    Returns:
        (N, O, H, W), channels-last.
    """
    n, _, h, w = x.shape
    pixels = x.permute(0, 2, 3, 1).flatten(0, 2)
    return torch.addmm(bias, pixels, weight).view(n, h, w, -1).permute(0, 3, 1, 2)


class _FoldedUnit(nn.Module):
    """Convolutions with BN, folded in inference. ``net`` holds conv, BN, ReLU triples."""

    def __init__(self, *modules: nn.Module) -> None:
        super().__init__()
        self.net = nn.Sequential(*modules)
        self._folds = [FoldCache() for _ in range(len(self.net) // 3)]

    def train(self, mode: bool = True) -> '_FoldedUnit':
        for fold in self._folds:
            fold.clear()
        return super().train(mode)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, in, H, W) to (N, out, H', W')."""
        return self.infer(x).relu_() if can_fold(self, x) else self.net(x)

    def infer(self, x: Tensor) -> Tensor:
        """The output before the last ReLU, by folded weights; no gradient flows."""
        for i, fold in enumerate(self._folds):
            if i:
                x = x.relu_()
            conv, bn = self.net[3 * i], self.net[3 * i + 1]
            if conv.kernel_size == (1, 1):
                x = pointwise(x, *fold.get(conv, bn, _matrix))
            else:
                weight, bias = fold.get(conv, bn, _channels_last)
                x = F.conv2d(x, weight, bias, conv.stride, conv.padding)
        return x


def _conv_bn_relu(
    in_channels: int, out_channels: int, kernel_size: int, stride: int, bias: bool
) -> tuple:
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
        modules = ()
        if factor is not None:
            inner = min(in_channels, factor * out_channels)
            modules = _conv_bn_relu(in_channels, inner, 1, 1, False)
            in_channels = inner
        super().__init__(
            *modules, *_conv_bn_relu(in_channels, out_channels, 3, stride, False)
        )
