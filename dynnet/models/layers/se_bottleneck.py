"""RegNetY's block: a bottleneck with squeeze and excitation."""

from mmengine.model import BaseModule
from mmpretrain.models.backbones.resnet import Bottleneck
from torch import Tensor, nn


def take_over(block: nn.Module, source: nn.Module) -> None:
    """Give a block the layers and settings of another one, which is spent.

    Args:
        block: Has had ``nn.Module.__init__`` called on it.
        source: Whose attributes and children it gets, under their names.
    """
    for key, value in vars(source).items():
        if key not in vars(block):
            setattr(block, key, value)
    for key, child in source.named_children():
        block.add_module(key, child)


class SEBottleneck(Bottleneck):
    """A bottleneck with squeeze and excitation after its 3x3 convolution.

    Args:
        block: The bottleneck; it is spent.
        se: Squeeze and excitation of the inner width.
    """

    def __init__(self, block: Bottleneck, se: nn.Module) -> None:
        BaseModule.__init__(self)
        take_over(self, block)
        self.se = se

    def residual(self, x: Tensor) -> Tensor:
        """Compute the residual up to the last BN."""
        out = self.relu(self.norm1(self.conv1(x)))
        out = self.se(self.relu(self.norm2(self.conv2(out))))
        return self.drop_path(self.norm3(self.conv3(out)))

    def forward(self, x: Tensor) -> Tensor:
        """Compute the block on (N, C, Hi, Wi)."""
        identity = x if self.downsample is None else self.downsample(x)
        return self.relu(self.residual(x) + identity)
