"""What stands at an exit: features in, logits out."""

from torch import Tensor, nn

from dynnet.registry import MODELS
from dynnet.utils.errors import ConfigError

from ..layers import ConvBNReLU


@MODELS.register_module()
class ConvExit(nn.Module):
    """The classifier of MSDNet and RANet: two strided 3x3 convolutions and a linear
    layer.

    Args:
        in_channels: Channels C of the exit's feature.
        num_classes: Number of classes.
        channels: Width of both convolutions (128 in the CIFAR nets); None keeps C, as
            in the ImageNet nets.
        init: 'torch' leaves PyTorch's initialisation (MSDNet); 'he' draws the
            convolutions by fan out and zeroes the linear bias (RANet).

    Raises:
        ValueError: unknown ``init``.
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        channels: int | None = 128,
        init: str = 'torch',
    ) -> None:
        super().__init__()
        channels = channels or in_channels
        # Published: average pooling over 2x2, which is what is left of 8x8 or 7x7.
        # Adaptive pooling is the same there and takes any other size as well.
        self.m = nn.Sequential(
            ConvBNReLU(in_channels, channels, stride=2),
            ConvBNReLU(channels, channels, stride=2),
            nn.AdaptiveAvgPool2d(1),
        )
        self.linear = nn.Linear(channels, num_classes)
        if init == 'he':
            for module in self.m.modules():
                if isinstance(module, nn.Conv2d):
                    nn.init.kaiming_normal_(module.weight, mode='fan_out')
            nn.init.zeros_(self.linear.bias)
        elif init != 'torch':
            raise ConfigError(f"init={init!r}: choose 'torch' or 'he'")

    def forward(self, x: Tensor) -> Tensor:
        """Map a feature (N, C, H, W) to logits (N, num_classes)."""
        return self.linear(self.m(x).flatten(1))


@MODELS.register_module()
class LinearExit(nn.Module):
    """Global average pooling and a linear layer, for exits on any backbone.

    Args:
        in_channels: Channels C of the exit's feature.
        num_classes: Number of classes.
    """

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.linear = nn.Linear(in_channels, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map a feature (N, C, H, W) to logits (N, num_classes)."""
        return self.linear(self.pool(x).flatten(1))
