"""RegNetY's bottleneck with a gate; what its squeeze pools is a choice."""

import torch
from torch import Tensor

from dynnet.ops.sparse_conv import FoldedBlock, sparse_pointwise

from ..gates import BlockCosts, GateOutput
from .gated_bottleneck import GatedBottleneck

SQUEEZES = ('map', 'active')


class GatedSEBottleneck(GatedBottleneck):
    """Puts a gate before RegNetY's bottleneck (:class:`SEBottleneck`).

    As published, the squeeze pools the whole map: what is skipped in the end still has
    its say in the channels' weights, so only the last convolution can be skipped
    exactly. With ``squeeze = 'active'`` it pools the positions that are computed, and
    the first convolution is skipped as well. That is *not* the published network: the
    same weights give other outputs (an approximation), equal in both test-time modes.

    Attributes:
        squeeze (str): ``'map'`` or ``'active'``.
    """

    squeeze = 'map'

    def costs(self, x: Tensor) -> BlockCosts:
        """Count the MACs; as published, without SE, nor the gate beside a projection,
        and with the first convolution at ``stride`` times the output's size."""
        costs = super().costs(x)
        gate = costs.gate if self.downsample is None else 0
        return BlockCosts(gate, costs.inner, costs.outer, costs.identity)

    def residual(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Compute the residual (N, C, H, W) everywhere, up to the last BN."""
        out = self.relu(self.norm1(self.conv1(x)))
        out = self.relu(self.norm2(self.conv2(out)))
        out = self.excite(out, mask)
        return self.drop_path(self.norm3(self.conv3(out)))

    def excite(self, out: Tensor, mask: Tensor | None) -> Tensor:
        """Squeeze and excite (N, C, H, W); the mask is (N, G, H, W)."""
        if self.squeeze == 'map' or mask is None:
            return self.se(out)
        mask = mask.amax(1, keepdim=True)
        total = (out * mask).sum((2, 3), keepdim=True)
        mean = total / mask.sum((2, 3), keepdim=True).clamp_min(1)
        return out * self.se.conv2(self.se.conv1(mean))

    def execute(self, x: Tensor, gate: GateOutput, folded: FoldedBlock) -> Tensor:
        """Compute the last convolution where the mask is 1; before the squeeze only
        what it does not pool is skipped."""
        first, second, last = folded.convs
        backend = 'torch' if self.backend == 'mmcv' else self.backend
        if self.squeeze == 'map':
            out = first.dense(x).relu_()
        else:
            shape = len(x), first.out_channels, *x.shape[2:]
            zeros = torch.zeros(shape, dtype=x.dtype, device=x.device)
            zeros = zeros.contiguous(memory_format=torch.channels_last)
            out = sparse_pointwise(x, gate.dilated, first, zeros, backend, inplace=True)
        # Grouped, hence cheap: everywhere.
        out = self.excite(second.dense(out).relu_(), gate.mask)
        inplace = self.downsample is not None or self._owns_input()
        return sparse_pointwise(
            out, gate.coarse, last, folded.identity(x), backend, inplace=inplace
        )
