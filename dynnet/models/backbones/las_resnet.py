"""LASNet's ResNets and RegNets: mmpretrain's, with a gate before every block."""

from collections.abc import Sequence

import torch
from mmpretrain.models.backbones import ResNet, ResNet_CIFAR
from mmpretrain.models.backbones.resnet import BasicBlock
from torch import Tensor, nn

from dynnet.registry import MODELS
from dynnet.utils.errors import ConfigError

from ..gates import current_meter
from ..layers.gated_basic_block import GatedBasicBlock
from ..layers.gated_block import GatedResidualBlock
from ..layers.gated_bottleneck import GatedBottleneck
from ..layers.gated_se_bottleneck import SQUEEZES, GatedSEBottleneck
from .block_swap import BlockSwapMixin
from .regnet_y import RegNetY


class GatedBackboneMixin(BlockSwapMixin):
    """Gates every block of a backbone of mmpretrain's ResNet family.

    Args:
        granularity: Side of a patch in each stage, or one for all.
        gate: Config of the gates; ``granularity`` and ``in_channels`` are filled in.
        **kwargs: The backbone's own.

    Raises:
        ConfigError: Not one granularity per stage, or a block that cannot be gated.
    """

    default_gate = dict(type='dynnet.SpatialGate')

    def __init__(
        self,
        *args,
        granularity: int | Sequence[int] = (4, 4, 2, 1),
        gate: dict | None = None,
        **kwargs,
    ) -> None:
        stages = kwargs.get('num_stages', 4)
        if isinstance(granularity, int):
            granularity = (granularity,) * stages
        if len(granularity) != stages:
            raise ConfigError(
                f'granularity={tuple(granularity)} must have one entry for each of the '
                f'{stages} stages'
            )
        self.granularity = tuple(granularity)
        self._gate_cfg = dict(self.default_gate, **(gate or {}))
        super().__init__(*args, **kwargs)

    @property
    def gated_blocks(self) -> list[GatedResidualBlock]:
        """All gated blocks in the order they run."""
        return [b for name in self.res_layers for b in getattr(self, name)]

    def gate_block(
        self, block: nn.Module, gate: nn.Module, name: str
    ) -> GatedResidualBlock:
        """Gate one block."""
        basic = isinstance(block, BasicBlock)
        return (GatedBasicBlock if basic else GatedBottleneck)(block, gate, name)

    def swap_blocks(self, stage: int, blocks: nn.Sequential) -> nn.Sequential:
        """Gate the blocks of a stage (from 0)."""
        for j, block in enumerate(blocks):
            cfg = dict(self._gate_cfg, in_channels=block.in_channels)
            if not str(cfg['type']).endswith('LayerGate'):
                cfg.setdefault('granularity', self.granularity[stage])
            name = f'layer{stage + 1}.{j}'
            blocks[j] = self.gate_block(block, MODELS.build(cfg), name)
            if j:
                blocks[j].follow(blocks[j - 1])
        return blocks

    def init_weights(self) -> None:
        """Initialise; the gates by their own rule, unless weights were loaded."""
        super().init_weights()
        if not (
            isinstance(self.init_cfg, dict) and self.init_cfg['type'] == 'Pretrained'
        ):
            for block in self.gated_blocks:
                block.gate.init_weights()

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return the stages' maps; see mmpretrain's ResNet."""
        meter = current_meter()
        if meter is not None:
            meter.static_macs += self.stem_macs(*x.shape[2:])
        if not (self.training or torch.is_grad_enabled()) and any(
            block.mode == 'execute' for block in self.gated_blocks
        ):
            # Blocks execute in this layout; the stem's pooling, too, is much faster.
            x = x.contiguous(memory_format=torch.channels_last)
        return super().forward(x)

    def stem_macs(self, height: int, width: int) -> int:
        """MACs of the stem for a picture; the pooling counts 9 per output, as
        published."""
        stem = self.stem if getattr(self, 'deep_stem', False) else self.conv1
        macs = channels = 0
        for conv in (m for m in stem.modules() if isinstance(m, nn.Conv2d)):
            kernel, stride, padding = conv.kernel_size, conv.stride, conv.padding
            height = (height + 2 * padding[0] - kernel[0]) // stride[0] + 1
            width = (width + 2 * padding[1] - kernel[1]) // stride[1] + 1
            macs += conv.weight.numel() * height * width
            channels = conv.out_channels
        if hasattr(self, 'maxpool'):
            macs += 9 * channels * -(-height // 2) * -(-width // 2)
        return macs


@MODELS.register_module()
class LASResNet(GatedBackboneMixin, ResNet):
    """ResNet with a spatial gate before every block.

    `Latency-aware Spatial-wise Dynamic Networks <https://arxiv.org/abs/2210.06223>`_.
    A backbone of classifiers and, with ``out_indices=(0, 1, 2, 3)``, of mmdet's
    detectors. Blocks of stages frozen by ``frozen_stages`` decide without noise.

    Args:
        depth: 50, 101 or 152; also 18 and 34, which the paper has not.
        granularity: Side S of a patch in each stage, as in ``(4, 4, 2, 1)``.
        gate: Config of the gates; ``dict(type='dynnet.LayerGate')`` skips blocks as a
            whole.
        **kwargs: Those of mmpretrain's ResNet.

    Example:
        >>> import torch
        >>> from dynnet.models.gates import measure_gates
        >>> net = LASResNet(50, granularity=(4, 4, 2, 1)).eval()
        >>> with torch.no_grad(), measure_gates() as meter:
        ...     feats = net(torch.rand(1, 3, 64, 64))
        >>> feats[0].shape, len(meter.records)
        (torch.Size([1, 2048, 2, 2]), 16)
    """


@MODELS.register_module()
class LASResNetCIFAR(GatedBackboneMixin, ResNet_CIFAR):
    """:class:`LASResNet` for small pictures: a 3x3 stem without stride or pooling.

    Args:
        depth: 50, 101 or 152.
        granularity: Side S of a patch in each stage.
        gate: Config of the gates.
        **kwargs: Those of mmpretrain's ResNet_CIFAR.
    """


@MODELS.register_module()
class LASRegNet(GatedBackboneMixin, RegNetY):
    """RegNetY with a spatial gate before every block.

    Args:
        arch: ``'regnety_400mf'``, ``'regnety_800mf'`` or settings; see
            :class:`RegNetY`.
        granularity: Side S of a patch in each stage.
        gate: Config of the gates.
        squeeze: What squeeze and excitation pools: ``'map'``, as published, or
            ``'active'``, the computed positions: an approximation of the published
            network that can skip more (see :class:`GatedSEBottleneck`).
        **kwargs: Those of mmpretrain's RegNet.

    Raises:
        ConfigError: Unknown ``squeeze``.
    """

    # As published: maskers drawn wide, and biased so that all is computed at first.
    default_gate = dict(type='dynnet.SpatialGate', keep_bias=10.0, weight_std=1.0)

    def __init__(self, *args, squeeze: str = 'map', **kwargs) -> None:
        if squeeze not in SQUEEZES:
            raise ConfigError(f"squeeze={squeeze!r}: choose 'map' or 'active'")
        self.squeeze = squeeze
        super().__init__(*args, **kwargs)

    def gate_block(
        self, block: nn.Module, gate: nn.Module, name: str
    ) -> GatedSEBottleneck:
        """Gate one block."""
        gated = GatedSEBottleneck(block, gate, name)
        gated.squeeze = self.squeeze
        return gated

    def swap_blocks(self, stage: int, blocks: nn.Sequential) -> nn.Sequential:
        """Add squeeze and excitation to the blocks of a stage, then gate them."""
        blocks = RegNetY.swap_blocks(self, stage, blocks)
        return GatedBackboneMixin.swap_blocks(self, stage, blocks)
