"""Which patches of a map a block computes."""

import torch
import torch.nn.functional as F
from torch import Tensor

from dynnet.ops.masks import coarse_size
from dynnet.ops.sparse_conv import cpp
from dynnet.registry import MODELS
from dynnet.utils.errors import ConfigError

from .base import BaseGate, GateOutput, output_size


@MODELS.register_module()
class SpatialGate(BaseGate):
    """LASNet's masker (arXiv 2210.06223, section 3): one decision per S x S patch.

    The block's input is pooled to the grid of patches of the block's *output* and one
    1x1 convolution decides. Sizes follow from the input, so that any size works; where
    S does not divide the map, the grid has floor(H / S) rows whose windows are those of
    adaptive pooling, and where S is larger than the map there is one patch.

    Args:
        in_channels: Channels C of the block's input.
        granularity: Side S of a patch in positions of the block's output.
        groups: Channel groups G with decisions of their own; the dilated mask is their
            union.
        tau: Temperature in training.
        keep_bias: Initial bias of the keep logits.
        weight_std: Standard deviation of the initial weights; None: the convolution's
            own initialisation.
        init_cfg: mmengine's initialisation config.

    Raises:
        ConfigError: ``granularity`` or ``groups`` is not positive.

    Example:
        >>> import torch
        >>> gate = SpatialGate(8, granularity=4).eval()
        >>> out = gate(torch.rand(2, 8, 28, 28), stride=2)
        >>> out.coarse.shape, out.mask.shape, out.dilated.shape
        (torch.Size([2, 1, 3, 3]), torch.Size([2, 1, 14, 14]), torch.Size([2, 1, 28, 28]))
    """  # noqa: E501

    def __init__(self, in_channels: int, granularity: int = 1, **kwargs) -> None:
        super().__init__(in_channels, **kwargs)
        if granularity < 1:
            raise ConfigError(f'granularity must be at least 1, got {granularity}')
        self.granularity = granularity

    def grid(self, height: int, width: int) -> tuple[int, int]:
        """Tell the number of patches (h, w) of an output map."""
        return coarse_size((height, width), self.granularity)

    def logits(self, x: Tensor, stride: int = 1) -> Tensor:
        """Compute the logits (N, 2 G, h, w), keep before skip."""
        grid = self.grid(*output_size(x.shape[2:], stride))
        if grid != tuple(x.shape[2:]):
            x = F.adaptive_avg_pool2d(x, grid)
        return self.conv(x)

    def forward(self, x: Tensor, stride: int = 1, fused: bool = False) -> GateOutput:
        """Decide for a block.

        Args:
            x: The block's input (N, C, Hi, Wi).
            stride: The block's stride, 1 or 2.
            fused: Whether to pool, score and compare in one C++ pass where that can be
                (eval mode, no gradient, float32 on a CPU, one group). Sums in another
                order: a decision may differ where the logits are within about 1e-5.

        Returns:
            Decisions, masks of the output (ceil(Hi / stride) rows) and of the input.
        """
        if fused and self._can_fuse(x):
            grid = self.grid(*output_size(x.shape[2:], stride))
            kept = cpp.gate(x, self.conv.weight, self.conv.bias, grid)
            coarse = kept[:, None].to(x.dtype)
        else:
            coarse = self.decide(self.logits(x, stride))
        return GateOutput(coarse, tuple(x.shape[2:]), stride)

    def _can_fuse(self, x: Tensor) -> bool:
        return (
            self.groups == 1
            and len(x) > 0
            and not (self.training or torch.is_grad_enabled())
            and x.device.type == 'cpu'
            and x.dtype == self.conv.weight.dtype == torch.float32
            and cpp.unavailable() is None
        )

    def macs(self, height: int, width: int) -> int:
        """MACs of the gate itself for a block output of ``height`` x ``width``.

        The published count: the pooled elements once, the convolution, and one more
        per patch and input channel (in the place of the bias).
        """
        h, w = self.grid(height, width)
        channels = self.conv.in_channels
        per_patch = channels + 2 * self.groups * channels + channels
        return per_patch * h * w
