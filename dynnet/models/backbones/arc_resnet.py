"""ResNet with adaptive rotated convolutions; it needs mmpretrain."""

from collections.abc import Sequence
from typing import Any

from mmpretrain.models.backbones import ResNet
from torch import nn

from dynnet.registry import MODELS
from dynnet.utils.errors import ConfigError

from ..layers.adaptive_rotated_conv import AdaptiveRotatedConv2d
from .block_swap import BlockSwapMixin

# One stage's blocks: 'all', 'none' (published: 'x'), or indices.
StageBlocks = str | int | Sequence[int | str]


@MODELS.register_module()
class ARCResNet(BlockSwapMixin, ResNet):
    """ResNet whose 3x3 convolutions are adaptive rotated ones in chosen blocks.

    Pu et al., *Adaptive Rotated Convolution for Rotated Object Detection*, ICCV 2023,
    Section 3.4. For classification and as the backbone of detectors alike; the keys are
    torchvision's, ``conv2.weight`` being (n, C, C, 3, 3) where it was replaced.

    Args:
        depth: 18, 34, 50, 101 or 152.
        replace: Blocks whose convolution is replaced, for every stage: ``'all'``,
            ``'none'``, or a list of indices from 0 (the published strings ``'0'`` and
            ``'x'``, which stands for none, are understood). By default all of the
            stages 2 to 4, the published choice.
        kernel_number: Number n of kernels.
        convs: Which convolutions of a block are replaced: ``'conv2'``, and in the basic
            blocks of depth 18 and 34 ``'conv1'`` too.
        dropout: Dropout before the heads of the routing.
        max_angle: Bound of the angles, in degrees.
        **kwargs: Arguments of mmpretrain's ``ResNet`` (``out_indices``,
            ``frozen_stages``, ``norm_eval``, ``with_cp``, ``init_cfg``, ...). A frozen
            stage's kernels and routing are frozen with it. ``norm_eval`` concerns batch
            normalisation alone: the layer normalisation and the dropout of the routing
            go on.

    Raises:
        ConfigError: ``replace`` names a block that does not exist, or ``convs`` no 3x3
            convolution of the blocks.

    Example:
        >>> backbone = dict(
        ...     type='dynnet.ARCResNet', depth=50, out_indices=(0, 1, 2, 3),
        ...     frozen_stages=1, norm_eval=True)
    """

    def __init__(
        self,
        depth: int,
        replace: Sequence[StageBlocks] = ('none', 'all', 'all', 'all'),
        kernel_number: int = 4,
        convs: Sequence[str] = ('conv2',),
        dropout: float = 0.2,
        max_angle: float = 40.0,
        **kwargs,
    ) -> None:
        if depth not in self.arch_settings:
            known = ', '.join(map(str, self.arch_settings))
            raise ConfigError(f'depth={depth}: choose from {known}')
        counts = self.arch_settings[depth][1]
        # Plain attributes: the stages are built before nn.Module is.
        self._replaced = parse_replace(replace, counts)
        self._convs = (convs,) if isinstance(convs, str) else tuple(convs)
        self._settings: dict[str, Any] = dict(
            kernel_number=kernel_number, dropout=dropout, max_angle=max_angle
        )
        super().__init__(depth, **kwargs)

    def swap_blocks(self, stage: int, blocks: nn.Sequential) -> None:
        """Replace the convolutions of one stage."""
        for index in self._replaced[stage]:
            block = blocks[index]
            for name in self._convs:
                conv = getattr(block, name, None)
                if getattr(conv, 'kernel_size', None) != (3, 3):
                    raise ConfigError(
                        f'convs={self._convs}: the blocks of a ResNet-{self.depth} '
                        f'have no 3x3 convolution {name!r}'
                    )
                setattr(block, name, self._make(conv))

    def train(self, mode: bool = True) -> 'ARCResNet':
        """Set the mode; returns the net itself, as torch's modules do."""
        super().train(mode)
        return self

    def _make(self, conv: nn.Conv2d) -> AdaptiveRotatedConv2d:
        return AdaptiveRotatedConv2d(
            conv.in_channels,
            conv.out_channels,
            3,
            conv.stride,
            conv.padding,
            conv.dilation,
            conv.groups,
            conv.bias is not None,
            **self._settings,
        )


def parse_replace(
    replace: Sequence[StageBlocks], counts: Sequence[int]
) -> tuple[tuple[int, ...], ...]:
    """Read which blocks of which stages are replaced.

    Args:
        replace: As :class:`ARCResNet` takes it; may be shorter than ``counts``.
        counts: Number of blocks of every stage.

    Returns:
        Indices for every stage, sorted.

    Raises:
        ConfigError: An entry cannot be read, or there is no such stage or block.
    """
    if isinstance(replace, str) or len(replace) > len(counts):
        raise ConfigError(f'replace={replace!r}: give one entry for each stage')
    stages = []
    for stage, (entry, count) in enumerate(zip(replace, counts), 1):
        if entry == 'all':
            stages.append(tuple(range(count)))
            continue
        items = [entry] if isinstance(entry, (str, int)) else list(entry or ())
        chosen = set()
        for item in items:
            if item in ('x', 'none'):
                continue
            try:
                index = int(item)
            except (TypeError, ValueError):
                raise ConfigError(
                    f"replace: {item!r} of stage {stage} is no index, 'all' or 'none'"
                ) from None
            if not 0 <= index < count:
                raise ConfigError(
                    f'replace: stage {stage} has no block {index}, only 0 to '
                    f'{count - 1}'
                )
            chosen.add(index)
        stages.append(tuple(sorted(chosen)))
    return (*stages, *[()] * (len(counts) - len(stages)))
