"""Adaptive rotated convolution with constant weights, for runtimes that need them."""

import copy

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dynnet.models.layers import AdaptiveRotatedConv2d
from dynnet.ops import rotation_matrix
from dynnet.utils.errors import ConfigError


class StaticRotatedConv2d(nn.Module):
    """An adaptive rotated convolution as static convolutions, exactly.

    Turning and mixing are linear, so they can follow the convolution instead of making
    its kernel. Every tap of every kernel is a 1x1 convolution, all n * 9 of them one
    with constant weights. The output is the sum over places p of these maps, shifted
    by p, summed over kernels k and taps q with weights lambda_k * M_k[p, q]. That is
    about n times the multiply-accumulates.

    Args:
        conv: The layer; its parameters are copied. Zero padding.

    Raises:
        ConfigError: The layer has groups, or another padding.
    """

    def __init__(self, conv: AdaptiveRotatedConv2d) -> None:
        super().__init__()
        if conv.groups != 1 or conv.padding_mode != 'zeros':
            raise ConfigError('a static form needs groups=1 and zero padding')
        if isinstance(conv.padding, str):
            raise ConfigError('a static form needs its padding as numbers')
        self.routing = copy.deepcopy(conv.routing)
        self.register_buffer('_basis', conv._basis.clone())
        n, out, inner = conv.weight.shape[:3]
        taps = conv.weight.detach().flatten(3).permute(0, 3, 1, 2)  # n 9 O C
        self.taps = nn.Conv2d(inner, n * 9 * out, 1, bias=False)
        self.taps.weight.data = taps.reshape(n * 9 * out, inner, 1, 1).clone()
        self.bias = None if conv.bias is None else nn.Parameter(conv.bias.detach())
        self.out_channels, self.padding = out, conv.padding
        self.stride, self.dilation = conv.stride, conv.dilation

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, O, H', W')."""
        gates, angles = self.routing(x)
        matrix = rotation_matrix(angles, self._basis) * gates[..., None, None]
        (high, wide), (sy, sx), (dy, dx) = self.padding, self.stride, self.dilation
        maps = self.taps(F.pad(x, (wide, wide, high, high)))
        height, width = maps.shape[-2:]
        maps = maps.unflatten(1, (-1, self.out_channels))  # B (n 9) O H W
        rows = (height - 2 * dy - 1) // sy + 1
        columns = (width - 2 * dx - 1) // sx + 1
        y = None
        for p in range(9):
            top, left = p // 3 * dy, p % 3 * dx
            place = maps[
                ...,
                top : top + (rows - 1) * sy + 1 : sy,
                left : left + (columns - 1) * sx + 1 : sx,
            ]
            weights = matrix[:, :, p].flatten(1)[..., None, None, None]
            part = (place * weights).sum(1)
            y = part if y is None else y + part
        return y if self.bias is None else y + self.bias.view(1, -1, 1, 1)


@torch.no_grad()
def make_static(model: nn.Module) -> nn.Module:
    """Copy a model with all adaptive rotated convolutions in their static form.

    Args:
        model: Left as it is.

    Returns:
        The copy, in eval mode.
    """
    model = copy.deepcopy(model).eval()
    for name, module in list(model.named_modules()):
        if isinstance(module, AdaptiveRotatedConv2d):
            parent, _, leaf = name.rpartition('.')
            static = StaticRotatedConv2d(module)
            setattr(model.get_submodule(parent), leaf, static.eval())
    return model
