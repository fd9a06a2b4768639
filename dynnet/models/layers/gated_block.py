"""What residual blocks with a gate share: both test-time modes."""

import torch.utils.checkpoint
from mmengine.model import BaseModule
from torch import Tensor, nn

from dynnet.ops.sparse_conv import (
    FoldedBlock,
    FoldedBlockCache,
    density_rule,
    sparse_block,
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
from .se_bottleneck import take_over


class GatedResidualBlock(GatedBlock):
    """Puts a gate before a residual block; put it before the block's own class.

    ``out = relu(mask * residual(x) + identity)``: the mask multiplies the residual
    after the last BN, so that where it is 0 the identity passes unchanged. In training
    everything is computed, and BN sees the whole map.

    The block's layers are taken over under their names: a checkpoint of the plain
    network has all of this block's keys but the gate's.

    In the mode ``'execute'``, in eval mode and without gradients, what the mask skips
    is not computed (``dynnet.ops.sparse_conv``); otherwise the mode is ``'simulate'``.

    Args:
        block: The plain block; it is spent.
        gate: Its gate, which reads the block's input.
        name: Name in the records of a ``GateMeter``.

    Raises:
        ConfigError: A block that cannot be gated; see :meth:`check`.
    """

    def __init__(self, block: nn.Module, gate: BaseGate, name: str = '') -> None:
        BaseModule.__init__(self)  # the plain block's own would build everything anew
        self.check(block)
        take_over(self, block)
        self.gate = gate
        self.name = name
        self._folds = FoldedBlockCache()
        self.follow(None)

    @staticmethod
    def check(block: nn.Module) -> None:
        """Refuse a block that cannot be gated, by a ``ConfigError``."""
        raise NotImplementedError

    def costs(self, x: Tensor) -> BlockCosts:
        """Count the MACs of the block's parts for one picture of ``x``."""
        raise NotImplementedError

    def residual(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Compute the residual (N, C, H, W) everywhere, up to the last BN."""
        raise NotImplementedError

    def follow(self, previous: nn.Module | None) -> None:
        """Say whose output this block alone reads: it may then be overwritten."""
        self.__dict__['_previous'] = previous  # not as a submodule

    def train(self, mode: bool = True) -> 'GatedResidualBlock':
        """Set the mode, and forget the folded weights."""
        self._folds.clear()
        return super().train(mode)

    def identity(self, x: Tensor) -> Tensor:
        """Compute what the residual is added to."""
        return x if self.downsample is None else self.downsample(x)

    def identity_macs(self, height: int, width: int) -> int:
        """MACs of the projection for an output map; 0 without one."""
        if self.downsample is None:
            return 0
        convs = (m for m in self.downsample if isinstance(m, nn.Conv2d))
        return sum(m.weight.numel() for m in convs) * height * width

    def decide(self, x: Tensor, executes: bool) -> GateOutput:
        """Ask the gate; by the fused kernel where that was chosen."""
        if executes and self.fused_gate:
            return self.gate(x, self.stride, fused=True)
        return self.gate(x, self.stride)

    def forward(self, x: Tensor) -> Tensor:
        """Compute the block on (N, C, Hi, Wi)."""
        executes = (
            self.mode == 'execute' and self.gate.groups == 1 and can_fold(self, x)
        )
        gate = self.decide(x, executes)
        meter = current_meter()
        if meter is not None:
            meter.records.append(BlockRecord(self.name, gate, self.costs(x)))
        if executes:
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
                self.residual, x, gate.mask, use_reentrant=False
            )
        else:
            residual = self.residual(x, gate.mask)
        return self.relu(apply_mask(residual, gate.mask) + self.identity(x))


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
