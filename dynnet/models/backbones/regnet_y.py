"""RegNetY, which mmpretrain lacks: its RegNet with squeeze and excitation."""

from mmpretrain.models.backbones import RegNet
from mmpretrain.models.utils import SELayer
from torch import nn

from dynnet.registry import MODELS
from dynnet.utils.errors import ConfigError

from ..layers.se_bottleneck import SEBottleneck
from .block_swap import BlockSwapMixin


@MODELS.register_module()
class RegNetY(BlockSwapMixin, RegNet):
    """RegNetY (Radosavovic et al., *Designing Network Design Spaces*, CVPR 2020).

    Args:
        arch: ``'regnety_400mf'``, ``'regnety_800mf'`` or the settings of another one
            as mmpretrain's RegNet takes them. Squeeze and excitation is added to each
            block, a quarter as wide as the block's input.
        **kwargs: Those of mmpretrain's RegNet.

    Raises:
        ConfigError: Unknown ``arch``.
    """

    arch_settings = {
        'regnety_400mf': dict(
            w0=48, wa=27.89, wm=2.09, group_w=8, depth=16, bot_mul=1.0
        ),
        'regnety_800mf': dict(
            w0=56, wa=38.84, wm=2.4, group_w=16, depth=14, bot_mul=1.0
        ),
    }

    def __init__(self, arch: str | dict, **kwargs) -> None:
        if isinstance(arch, str) and arch not in self.arch_settings:
            raise ConfigError(
                f'arch={arch!r}: choose from {", ".join(self.arch_settings)}'
            )
        super().__init__(arch, **kwargs)

    @staticmethod
    def quantize_float(number: float, divisor: int) -> int:
        """Round to a multiple, halves up (776 / 16 to 49): as the Y nets were made."""
        return int(number / divisor + 0.5) * divisor

    def swap_blocks(self, stage: int, blocks: nn.Sequential) -> nn.Sequential:
        """Add squeeze and excitation to the blocks of a stage."""
        for j, block in enumerate(blocks):
            squeeze = round(0.25 * block.in_channels)
            se = SELayer(block.mid_channels, squeeze_channels=squeeze)
            blocks[j] = SEBottleneck(block, se)
        return blocks
