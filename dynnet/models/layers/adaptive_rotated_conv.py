"""Adaptive rotated convolution (ARC): kernels that turn with what they look at."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dynnet.ops.kernel_rotation import rotate_and_mix, rotation_basis
from dynnet.registry import MODELS
from dynnet.utils.errors import ConfigError

from .autocast import without_autocast
from .kernel_mixing_conv import KernelMixingConv2d, at_least_float32, linear_in

# Maps larger than this many bytes are pooled in strips, which stay in a CPU's cache.
_STRIP_BYTES = 4 << 20


class RotationRouting(nn.Module):
    """Predicts how far each kernel is turned and how much it counts.

    Depthwise 3x3 convolution, layer normalisation over the channels at every pixel,
    ReLU and global average pooling; then two linear heads, each behind a dropout of its
    own (ARC, Section 3.2).

    Args:
        in_channels: Channels C of the input.
        kernel_number: Number n of kernels.
        dropout: Dropout probability before either head.
        max_angle: Bound of the angles, in degrees.
        device: Where the parameters are made.
        dtype: Their type.
    """

    def __init__(
        self,
        in_channels: int,
        kernel_number: int,
        dropout: float = 0.2,
        max_angle: float = 40.0,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        place = dict(device=device, dtype=dtype)
        self.max_angle = max_angle
        self.depthwise = nn.Conv2d(
            in_channels,
            in_channels,
            3,
            padding=1,
            groups=in_channels,
            bias=False,
            **place,
        )
        self.norm = nn.LayerNorm(in_channels, **place)
        self.gate_dropout = nn.Dropout(dropout)
        self.gate = nn.Linear(in_channels, kernel_number, **place)
        self.angle_dropout = nn.Dropout(dropout)
        self.angle = nn.Linear(in_channels, kernel_number, bias=False, **place)
        for module in (self.depthwise, self.gate, self.angle):
            nn.init.trunc_normal_(module.weight, std=0.02)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Predict from the convolution's input.

        Args:
            x: (B, C, H, W), fast where channels are last in memory.

        Returns:
            Gates (B, n) in (0, 1) and angles (B, n) in radians, at least float32.
        """
        pooled = at_least_float32(self.pool(x))
        with without_autocast(x):
            gates = linear_in(self.gate, self.gate_dropout(pooled)).sigmoid()
            turn = linear_in(self.angle, self.angle_dropout(pooled))
            angles = F.softsign(turn) * math.radians(self.max_angle)
        return gates, angles

    def pool(self, x: Tensor) -> Tensor:
        """Describe (B, C, H, W) by (B, C): what both heads read."""
        rows = self._strip_rows(x)
        if rows is None:
            return self._describe(self.depthwise(x)).mean((1, 2))
        height = x.shape[2]
        total: Tensor | float = 0.0
        for top in range(0, height, rows):
            bottom = min(top + rows, height)
            first = max(top - 1, 0)
            strip = self.depthwise(x[:, :, first : min(bottom + 1, height)])
            strip = strip[:, :, top - first : bottom - first]
            total = total + self._describe(strip).sum((1, 2))
        return total / (height * x.shape[3])

    def _describe(self, y: Tensor) -> Tensor:
        """Normalised and rectified (B, H, W, C) of (B, C, H, W)."""
        return F.relu(self.norm(y.permute(0, 2, 3, 1)), inplace=True)

    @staticmethod
    def _strip_rows(x: Tensor) -> int | None:
        """Rows per strip, or None where the whole map is better."""
        if (
            torch.compiler.is_compiling()
            or torch.jit.is_tracing()
            or torch.is_grad_enabled()
            or not x.is_cpu
            or x.numel() * x.element_size() <= _STRIP_BYTES
        ):
            return None
        row = x.numel() * x.element_size() // x.shape[2]
        return max(4, _STRIP_BYTES // 2 // row)


@MODELS.register_module()
class AdaptiveRotatedConv2d(KernelMixingConv2d):
    """Adaptive rotated convolution: a drop-in for a 3x3 ``nn.Conv2d``.

    n kernels are turned by angles and weighed by gates that a small routing network
    predicts from the input, summed to one kernel per sample, and applied. Pu et al.,
    *Adaptive Rotated Convolution for Rotated Object Detection*, ICCV 2023,
    Section 3. For ``conv_cfg``: ``dict(type='dynnet.AdaptiveRotatedConv2d')``.

    Note (differs): the published module takes ``bias`` and ignores it; ours adds it.

    Args:
        in_channels: As for ``nn.Conv2d``, like the following.
        out_channels: Channels of the output.
        kernel_size: 3; the turning is defined for nine taps.
        stride: Stride. The routing looks at the input at full resolution.
        padding: Padding.
        dilation: Distance of the taps.
        groups: Groups of channels.
        bias: Whether a bias (O,) is added.
        padding_mode: As for ``nn.Conv2d``.
        kernel_number: Number n of kernels.
        dropout: Dropout before the heads of the routing.
        max_angle: Bound of the angles, in degrees.
        device: Where the parameters are made.
        dtype: Their type.

    Attributes:
        routing (RotationRouting): Predicts gates and angles.

    Raises:
        ConfigError: Another kernel size, or numbers that make no convolution.

    Example:
        >>> conv = AdaptiveRotatedConv2d(16, 32, kernel_size=3, padding=1)
        >>> conv(torch.randn(2, 16, 8, 8)).shape
        torch.Size([2, 32, 8, 8])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int] = 3,
        stride: int | tuple[int, int] = 1,
        padding: int | tuple[int, int] | str = 0,
        dilation: int | tuple[int, int] = 1,
        groups: int = 1,
        bias: bool = False,
        padding_mode: str = 'zeros',
        kernel_number: int = 4,
        dropout: float = 0.2,
        max_angle: float = 40.0,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(
            in_channels,
            out_channels,
            kernel_size,
            stride,
            padding,
            dilation,
            groups,
            bias,
            padding_mode,
            kernel_number,
            device,
            dtype,
        )
        if self.kernel_size != (3, 3):
            raise ConfigError(
                f'kernel_size={kernel_size}: an adaptive rotated convolution turns 3x3 '
                'kernels only'
            )
        self.routing = RotationRouting(
            in_channels, kernel_number, dropout, max_angle, device, dtype
        )
        self.register_buffer('_basis', rotation_basis(dtype, device), persistent=False)

    def generate_kernels(self, x: Tensor) -> Tensor:
        """Turn and mix (B, O, C / groups, 3, 3); computed in float32 at least."""
        gates, angles = self.routing(x)
        with without_autocast(x):
            return rotate_and_mix(self.weight, angles, gates, self._basis).to(x.dtype)

    def mixing_macs(self) -> int:
        """Every tap of the mixture is a sum over nine taps of n kernels."""
        return 9 * self.weight.numel()
