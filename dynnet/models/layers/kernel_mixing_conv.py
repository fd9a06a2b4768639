"""A convolution whose kernel is mixed per sample from several learned ones."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.utils import _pair

from dynnet.ops.kernel_mixing import allocate_kernels
from dynnet.ops.per_sample_conv import per_sample_conv2d
from dynnet.utils.errors import ConfigError

PADDING_MODES = ('zeros', 'reflect', 'replicate', 'circular')


class KernelMixingConv2d(nn.Module):
    """``nn.Conv2d`` with n kernels, of which every sample gets its own mixture.

    A subclass says how in :meth:`generate_kernels`. The output has the memory format of
    the input, as that of ``nn.Conv2d`` has.

    Args:
        in_channels: As for ``nn.Conv2d``, like the following.
        out_channels: Channels of the output.
        kernel_size: Height and width of the kernels.
        stride: Stride.
        padding: Zeros around the input, or ``'same'`` or ``'valid'``.
        dilation: Distance of the taps.
        groups: Groups of channels.
        bias: Whether a bias (O,), shared by all samples, is added.
        padding_mode: 'zeros', 'reflect', 'replicate' or 'circular'.
        kernel_number: Number n of kernels.
        device: Where the parameters are made.
        dtype: Their type.

    Attributes:
        weight (Parameter): (n, O, C / groups, kH, kW).
        bias (Parameter | None): (O,).

    Raises:
        ConfigError: The numbers do not make a convolution.
    """

    # What mmcv's ConvModule asks of a convolution.
    transposed = False
    output_padding = (0, 0)

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        stride: int | tuple[int, int] = 1,
        padding: int | tuple[int, int] | str = 0,
        dilation: int | tuple[int, int] = 1,
        groups: int = 1,
        bias: bool = False,
        padding_mode: str = 'zeros',
        kernel_number: int = 4,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        if groups < 1 or in_channels % groups or out_channels % groups:
            raise ConfigError(
                f'groups={groups} does not divide in_channels={in_channels} and '
                f'out_channels={out_channels}'
            )
        if kernel_number < 1:
            raise ConfigError(f'kernel_number={kernel_number}: at least 1 is needed')
        if padding_mode not in PADDING_MODES:
            raise ConfigError(f'padding_mode={padding_mode!r}: one of {PADDING_MODES}')
        if padding_mode != 'zeros' and isinstance(padding, str):
            raise ConfigError(
                f'padding={padding!r} goes with zeros only: give a number'
            )
        self.in_channels, self.out_channels = in_channels, out_channels
        self.kernel_size, self.stride = _pair(kernel_size), _pair(stride)
        self.padding = padding if isinstance(padding, str) else _pair(padding)
        self.dilation, self.groups = _pair(dilation), groups
        self.padding_mode, self.kernel_number = padding_mode, kernel_number
        place = dict(device=device, dtype=dtype)
        self.weight = nn.Parameter(
            allocate_kernels(
                kernel_number,
                out_channels,
                in_channels // groups,
                self.kernel_size,
                **place,
            )
        )
        if bias:
            self.bias = nn.Parameter(torch.empty(out_channels, **place))
        else:
            self.register_parameter('bias', None)
        self.reset_kernels()

    def reset_kernels(self) -> None:
        """Draw the kernels anew; the bias becomes zero.

        Kaiming's normal initialisation in fan-out mode of the 5-D tensor, as published
        for ARC: the number of kernels counts as output channels.
        """
        nn.init.kaiming_normal_(self.weight, mode='fan_out', nonlinearity='relu')
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def init_weights(self) -> None:
        """Called by mm's models: the kernels are drawn anew.

        What decides the mixture is left to the constructor and to the rules that the
        surrounding model applies to plain layers.
        """
        self.reset_kernels()

    def generate_kernels(self, x: Tensor) -> Tensor:
        """Mix a kernel for every sample.

        Args:
            x: The convolution's input (B, C, H, W), channels last in memory.

        Returns:
            (B, O, C / groups, kH, kW), of ``x``'s dtype or one that autocast casts.
        """
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, O, H', W')."""
        if x.dim() != 4 or x.shape[1] != self.in_channels:
            raise ValueError(
                f'expected (B, {self.in_channels}, H, W), got {tuple(x.shape)}'
            )
        plain = x.is_contiguous()  # true of both formats where H = W = 1
        x = x.contiguous(memory_format=torch.channels_last)
        kernels = self.generate_kernels(x)
        padding = self.padding
        if self.padding_mode != 'zeros':
            high, wide = padding
            x = F.pad(x, (wide, wide, high, high), mode=self.padding_mode)
            padding = 0
        y = per_sample_conv2d(
            x, kernels, self.bias, self.stride, padding, self.dilation, self.groups
        )
        return y.contiguous() if plain else y

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True):
        """Behind ``to``, ``cuda``, ``half``, ...

        ``to(memory_format=torch.channels_last)`` asks it of every tensor of four or
        five axes, and fails on five: the kernels, which keep their own layout.
        """

        def move(tensor: Tensor) -> Tensor:
            try:
                return fn(tensor)
            except RuntimeError:
                if tensor.dim() != 5:
                    raise
            moved = fn(tensor.detach().flatten(0, 1))
            n, out, inner, *size = tensor.shape
            place = dict(device=moved.device, dtype=moved.dtype)
            kernels = allocate_kernels(n, out, inner, tuple(size), **place)
            return kernels.copy_(moved.unflatten(0, (n, out)))

        return super()._apply(move, recurse)

    def count_macs(self, output: Tensor) -> int:
        """Multiply-accumulates of one sample: the convolution and the mixing.

        Args:
            output: What :meth:`forward` returned, (B, O, H', W').
        """
        return output[0].numel() * self.weight[0, 0].numel() + self.mixing_macs()

    def mixing_macs(self) -> int:
        """Multiply-accumulates that make one sample's kernel."""
        return self.weight.numel()

    def extra_repr(self) -> str:
        return (
            f'{self.in_channels}, {self.out_channels}, '
            f'kernel_size={self.kernel_size}, stride={self.stride}, '
            f'padding={self.padding}, dilation={self.dilation}, '
            f'groups={self.groups}, bias={self.bias is not None}, '
            f'kernel_number={self.kernel_number}'
        )


def at_least_float32(x: Tensor) -> Tensor:
    """Half precision becomes float32; float32 and float64 stay."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def linear_in(module: nn.Linear, x: Tensor) -> Tensor:
    """A linear layer computed in the input's precision, whatever its weights have."""
    if module.weight.dtype == x.dtype:
        return module(x)
    bias = None if module.bias is None else module.bias.to(x.dtype)
    return F.linear(x, module.weight.to(x.dtype), bias)
