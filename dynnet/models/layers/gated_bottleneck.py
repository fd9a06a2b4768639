"""A bottleneck whose residual is computed only where its gate says so."""

from mmpretrain.models.backbones.resnet import Bottleneck
from torch import Tensor, nn

from dynnet.utils.errors import ConfigError

from ..gates import BlockCosts
from .gated_block import GatedResidualBlock


class GatedBottleneck(GatedResidualBlock, Bottleneck):
    """Puts a gate before a bottleneck of mmpretrain's ResNet, ResNeXt or RegNet.

    See :class:`GatedResidualBlock`.
    """

    @staticmethod
    def check(block: nn.Module) -> None:
        """Refuse what is no bottleneck, and one whose 3x3 convolution has no plain 3x3
        neighbourhood (dilation, or caffe's place of the stride)."""
        if not isinstance(block, Bottleneck):
            raise ConfigError(
                f'{type(block).__name__} is no residual block that can be gated'
            )
        if block.dilation != 1 or block.conv1.stride != (1, 1):
            raise ConfigError(
                'a gated bottleneck needs dilation 1 and the stride in its 3x3 '
                f"convolution, got dilation {block.dilation} and style '{block.style}'"
            )

    def costs(self, x: Tensor) -> BlockCosts:
        """Count the MACs of the block's parts for one picture of ``x``."""
        hi, wi = x.shape[2:]
        h, w = (-(-size // self.stride) for size in (hi, wi))
        inner = self.conv1.weight.numel() * hi * wi
        outer = (self.conv2.weight.numel() + self.conv3.weight.numel()) * h * w
        return BlockCosts(self.gate.macs(h, w), inner, outer, self.identity_macs(h, w))

    def residual(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Compute the residual (N, C, H, W) everywhere, up to the last BN."""
        out = self.relu(self.norm1(self.conv1(x)))
        out = self.relu(self.norm2(self.conv2(out)))
        return self.drop_path(self.norm3(self.conv3(out)))
