"""CondConv: kernels mixed by gates alone."""

from torch import Tensor, nn

from dynnet.ops.kernel_mixing import mix_kernels
from dynnet.registry import MODELS

from .autocast import without_autocast
from .kernel_mixing_conv import KernelMixingConv2d, at_least_float32, linear_in


@MODELS.register_module()
class CondConv2d(KernelMixingConv2d):
    """Conditionally parameterised convolution.

    Yang et al., *CondConv: Conditionally Parameterized Convolutions for Efficient
    Inference*, NeurIPS 2019, Section 3: the gates are the sigmoid of a linear map of
    the pooled input.

    Args:
        *args: As for :class:`KernelMixingConv2d`.
        **kwargs: The same.

    Example:
        >>> conv = CondConv2d(16, 32, kernel_size=3, padding=1, kernel_number=4)
    """

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        place = dict(device=self.weight.device, dtype=self.weight.dtype)
        self.gate = nn.Linear(self.in_channels, self.kernel_number, **place)

    def generate_kernels(self, x: Tensor) -> Tensor:
        """Mix (B, O, C / groups, kH, kW)."""
        pooled = at_least_float32(x.mean((2, 3)))
        with without_autocast(x):
            gates = linear_in(self.gate, pooled).sigmoid()
            return mix_kernels(self.weight, gates).to(x.dtype)
