"""A bottleneck whose residual is computed only where its gate says so."""

import torch.utils.checkpoint
from mmengine.model import BaseModule
from mmpretrain.models.backbones.resnet import Bottleneck
from torch import Tensor, nn

from dynnet.ops.sparse_conv import (
    FoldedBlock,
    FoldedBlockCache,
    density_rule,
    sparse_block,
    sparse_pointwise,
)
from dynnet.utils.errors import ConfigError
from dynnet.utils.folding import can_fold

from ..gates import (
    BaseGate,
    BlockCosts,
    BlockRecord,
    GatedBlock,
    GateOutput,
    current_meter,
)
from .se_bottleneck import SEBottleneck, take_over


class GatedBottleneck(GatedBlock, Bottleneck):
    """Puts a gate before a bottleneck of mmpretrain's ResNet, ResNeXt or RegNet.

    ``out = relu(mask * residual(x) + identity)``: the mask multiplies the residual
    after the last BN, so that where it is 0 the identity passes unchanged. In training
    everything is computed, and BN sees the whole map.

    The block's layers are taken over under their names: a checkpoint of the plain
    network has all of this block's keys but the gate's.

    In the mode ``'execute'``, in eval mode and without gradients, what the mask skips
    is not computed (``dynnet.ops.sparse_conv``); otherwise the mode is ``'simulate'``.

    Args:
        block: The bottleneck; it is spent.
        gate: Its gate, which reads the block's input.
        name: Name in the records of a ``GateMeter``.

    Raises:
        ConfigError: A block whose 3x3 convolution has no plain 3x3 neighbourhood
            (dilation, or caffe's place of the stride).
    """

    def __init__(self, block: Bottleneck, gate: BaseGate, name: str = '') -> None:
        BaseModule.__init__(self)  # a Bottleneck's own would build everything anew
        if not isinstance(block, Bottleneck):
            raise ConfigError(
                f'{type(block).__name__} is no bottleneck: only those can be gated '
                '(depth 50, 101, 152)'
            )
        if block.dilation != 1 or block.conv1.stride != (1, 1):
            raise ConfigError(
                'a gated bottleneck needs dilation 1 and the stride in its 3x3 '
                f"convolution, got dilation {block.dilation} and style '{block.style}'"
            )
        take_over(self, block)
        self.gate = gate
        self.name = name
        self._folds = FoldedBlockCache()
        self.follow(None)

    def follow(self, previous: nn.Module | None) -> None:
        """Say whose output this block alone reads: it may then be overwritten."""
        self.__dict__['_previous'] = previous  # not as a submodule

    def train(self, mode: bool = True) -> 'GatedBottleneck':
        """Set the mode, and forget the folded weights."""
        self._folds.clear()
        return super().train(mode)

    def costs(self, x: Tensor) -> BlockCosts:
        """Count the MACs of the block's parts for one picture of ``x``."""
        hi, wi = x.shape[2:]
        h, w = (-(-size // self.stride) for size in (hi, wi))
        inner = _macs(self.conv1) * hi * wi
        outer = (_macs(self.conv2) + _macs(self.conv3)) * h * w
        identity = 0
        if self.downsample is not None:
            convs = (m for m in self.downsample if isinstance(m, nn.Conv2d))
            identity = sum(map(_macs, convs)) * h * w
        return BlockCosts(self.gate.macs(h, w), inner, outer, identity)

    def residual(self, x: Tensor) -> Tensor:
        """Compute the residual (N, C, H, W) everywhere, up to the last BN."""
        out = self.relu(self.norm1(self.conv1(x)))
        out = self.relu(self.norm2(self.conv2(out)))
        return self.drop_path(self.norm3(self.conv3(out)))

    def identity(self, x: Tensor) -> Tensor:
        """Compute what the residual is added to."""
        return x if self.downsample is None else self.downsample(x)

    def forward(self, x: Tensor) -> Tensor:
        """Compute the block on (N, C, Hi, Wi)."""
        gate = self.gate(x, self.stride)
        meter = current_meter()
        if meter is not None:
            meter.records.append(BlockRecord(self.name, gate, self.costs(x)))
        if self.mode == 'execute' and self.gate.groups == 1 and can_fold(self, x):
            return self.execute(x, gate, self._folds.get(self))
        return self.simulate(x, gate)

    def execute(self, x: Tensor, gate: GateOutput, folded: FoldedBlock) -> Tensor:
        """Compute the residual where the mask is 1."""
        return sparse_block(
            x,
            gate.coarse,
            folded,
            self.backend,
            inplace=self._owns_input(),
            rule=self.rule or density_rule,
        )

    def _owns_input(self) -> bool:
        """Whether nobody but this block has seen its input."""
        before = self._previous
        return before is not None and not (
            before._forward_hooks or self._forward_hooks or self._forward_pre_hooks
        )

    def simulate(self, x: Tensor, gate: GateOutput) -> Tensor:
        """Compute everything, then multiply by the mask."""
        if self.with_cp and x.requires_grad:
            residual = torch.utils.checkpoint.checkpoint(
                self.residual, x, use_reentrant=False
            )
        else:
            residual = self.residual(x)
        return self.relu(apply_mask(residual, gate.mask) + self.identity(x))


class GatedSEBottleneck(GatedBottleneck):
    """RegNetY's bottleneck with a gate.

    The squeeze pools the whole map: what is skipped in the end still has its say in
    the channels' weights. So only the last convolution can be skipped exactly.

    Args:
        block: An :class:`SEBottleneck`; it is spent.
        gate: Its gate.
        name: Name in the records.
    """

    residual = SEBottleneck.residual

    def costs(self, x: Tensor) -> BlockCosts:
        """Count the MACs; as published, without SE, nor the gate beside a projection,
        and with the first convolution at ``stride`` times the output's size."""
        costs = super().costs(x)
        gate = costs.gate if self.downsample is None else 0
        return BlockCosts(gate, costs.inner, costs.outer, costs.identity)

    def execute(self, x: Tensor, gate: GateOutput, folded: FoldedBlock) -> Tensor:
        """Compute the last convolution where the mask is 1; the squeeze needs all that
        comes before it."""
        first, second, last = folded.convs
        out = first.dense(x).relu_()
        out = self.se(second.dense(out).relu_())
        backend = 'torch' if self.backend == 'mmcv' else self.backend
        inplace = self.downsample is not None or self._owns_input()
        return sparse_pointwise(
            out, gate.coarse, last, folded.identity(x), backend, inplace=inplace
        )


def apply_mask(residual: Tensor, mask: Tensor) -> Tensor:
    """Multiply (N, C, H, W) by a mask (N, G, H, W), one for each C / G channels."""
    groups = mask.shape[1]
    if groups == 1:
        return residual * mask
    n, c, h, w = residual.shape
    if c % groups:
        raise ConfigError(f'{c} channels do not divide into {groups} groups')
    parts = residual.view(n, groups, c // groups, h, w) * mask[:, :, None]
    return parts.view(n, c, h, w)


def _macs(conv: nn.Conv2d) -> int:
    """MACs per output position."""
    return conv.weight.numel()
