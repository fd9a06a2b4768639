"""First layers of MSDNet and RANet."""

from torch import nn

from dynnet.utils.errors import ConfigError

from ..layers import ConvBNReLU


def build_stem(kind: str, in_channels: int, out_channels: int) -> nn.Module:
    """Return the first layer: ``cifar`` keeps the size, ``imagenet`` divides it by 4.

    Raises:
        ValueError: unknown ``kind``.
    """
    if kind == 'cifar':
        return ConvBNReLU(in_channels, out_channels)
    if kind == 'imagenet':
        # The published layer: its convolution has a bias although a BN follows.
        return nn.Sequential(
            nn.Conv2d(in_channels, out_channels, 7, stride=2, padding=3),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, stride=2, padding=1),
        )
    raise ConfigError(f"stem={kind!r}: choose 'cifar' or 'imagenet'")
