"""The 6n+2 ResNets of CIFAR, which mmpretrain lacks; it needs mmpretrain."""

import torch.nn.functional as F
from mmpretrain.models.backbones import ResNet_CIFAR
from mmpretrain.models.backbones.resnet import BasicBlock
from torch import Tensor, nn

from dynnet.registry import MODELS
from dynnet.utils.errors import ConfigError

DEPTHS = (20, 32, 44, 56, 110)


class PaddedShortcut(nn.Module):
    """The shortcut without parameters: every other position, zeros for new channels.

    Args:
        stride: Distance of the positions that stay.
        new_channels: Number of channels to add, half of them on each side.
    """

    def __init__(self, stride: int, new_channels: int) -> None:
        super().__init__()
        self.stride, self.new_channels = stride, new_channels

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, K, H, W) to (N, K + new_channels, H / stride, W / stride)."""
        x = x[..., :: self.stride, :: self.stride]
        before = self.new_channels // 2
        return F.pad(x, (0, 0, 0, 0, before, self.new_channels - before))


@MODELS.register_module()
class CIFARResNet(ResNet_CIFAR):
    """ResNet-20, 32, 44, 56 and 110 for 32x32 pictures.

    Three stages of n basic blocks, 6n+2 layers, 16, 32 and 64 channels (He et al.,
    *Deep Residual Learning for Image Recognition*, CVPR 2016, section 4.2). The last
    map has a quarter of the picture's height and width.

    Args:
        depth: 20, 32, 44, 56 or 110.
        stem_channels: Channels of the stem.
        base_channels: Channels of the first stage; each further one has twice as many.
        shortcut: Where the size changes: ``'padding'``, as published for CIFAR, or
            ``'conv'``, mmpretrain's 1x1 convolution.
        **kwargs: Other arguments of mmpretrain's ``ResNet_CIFAR``.

    Raises:
        ConfigError: Another depth or shortcut.

    Example:
        >>> backbone = dict(type='dynnet.CIFARResNet', depth=20)  # 64 channels, 8x8
    """

    arch_settings = {depth: (BasicBlock, ((depth - 2) // 6,) * 3) for depth in DEPTHS}

    def __init__(
        self,
        depth: int,
        stem_channels: int = 16,
        base_channels: int = 16,
        shortcut: str = 'padding',
        num_stages: int = 3,
        strides: tuple[int, ...] = (1, 2, 2),
        dilations: tuple[int, ...] = (1, 1, 1),
        out_indices: tuple[int, ...] = (2,),
        **kwargs,
    ) -> None:
        if depth not in DEPTHS:
            raise ConfigError(
                f'depth={depth}: choose from {", ".join(map(str, DEPTHS))}'
            )
        if shortcut not in ('padding', 'conv'):
            raise ConfigError(f"shortcut={shortcut!r}: choose 'padding' or 'conv'")
        self.shortcut = shortcut
        super().__init__(
            depth,
            stem_channels=stem_channels,
            base_channels=base_channels,
            num_stages=num_stages,
            strides=strides,
            dilations=dilations,
            out_indices=out_indices,
            **kwargs,
        )

    def make_res_layer(self, **kwargs) -> nn.Sequential:
        """Build a stage; its first block gets the shortcut."""
        layer = super().make_res_layer(**kwargs)
        if self.shortcut == 'padding' and layer[0].downsample is not None:
            new_channels = kwargs['out_channels'] - kwargs['in_channels']
            layer[0].downsample = PaddedShortcut(kwargs['stride'], new_channels)
        return layer
