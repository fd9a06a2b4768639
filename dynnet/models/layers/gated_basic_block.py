"""ResNet-18's and -34's block with a gate."""

from mmpretrain.models.backbones.resnet import BasicBlock
from torch import Tensor, nn

from dynnet.utils.errors import ConfigError

from ..gates import BlockCosts, GateOutput
from ..gates.base import output_size
from .gated_block import GatedResidualBlock


class GatedBasicBlock(GatedResidualBlock, BasicBlock):
    """Puts a gate before a basic block; see :class:`GatedResidualBlock`.

    Not in the LASNet paper. The second 3x3 convolution runs at the mask, the first one
    (which has the stride) at the mask's dilation, both at the output's resolution.
    """

    @staticmethod
    def check(block: nn.Module) -> None:
        """Refuse what is no basic block, and dilation."""
        if not isinstance(block, BasicBlock):
            raise ConfigError(f'{type(block).__name__} is no basic block')
        if block.dilation != 1:
            raise ConfigError(
                f'a gated basic block needs dilation 1, got {block.dilation}'
            )

    def decide(self, x: Tensor, executes: bool) -> GateOutput:
        """Ask the gate; what is dilated has the output's resolution."""
        gate = super().decide(x, executes)
        return GateOutput(gate.coarse, output_size(gate.input_size, self.stride))

    def costs(self, x: Tensor) -> BlockCosts:
        """Count the MACs of the block's parts for one picture of ``x``."""
        h, w = output_size(x.shape[2:], self.stride)
        inner, outer = (
            conv.weight.numel() * h * w for conv in (self.conv1, self.conv2)
        )
        return BlockCosts(self.gate.macs(h, w), inner, outer, self.identity_macs(h, w))

    def residual(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Compute the residual (N, C, H, W) everywhere, up to the last BN."""
        out = self.relu(self.norm1(self.conv1(x)))
        return self.drop_path(self.norm2(self.conv2(out)))
