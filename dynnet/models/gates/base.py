"""What gates have in common, and what they return."""

from dataclasses import dataclass
from functools import cached_property

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from dynnet.ops.masks import dilate_mask, upsample_mask
from dynnet.utils.errors import ConfigError

from .gumbel import gumbel_softmax_mask, hard_mask


@dataclass(eq=False)
class GateOutput:
    """One gate's decisions on a batch: 1 means compute, 0 means skip.

    Attributes:
        coarse: (N, G, h, w), one decision per patch and channel group; differentiable
            in training.
        input_size: (Hi, Wi) of the block's input.
        stride: The block's stride.
    """

    coarse: Tensor
    input_size: tuple[int, int]
    stride: int = 1

    @cached_property
    def mask(self) -> Tensor:
        """The decisions at the resolution of the block's output, (N, G, H, W)."""
        return upsample_mask(self.coarse, output_size(self.input_size, self.stride))

    @cached_property
    def dilated(self) -> Tensor:
        """The positions of the block's *input* that a 3x3 convolution needs for the
        outputs in ``mask`` of any group, (N, 1, Hi, Wi); no gradient."""
        return dilate_mask(self.mask, self.stride, self.input_size)

    @property
    def density(self) -> Tensor:
        """Share of the patches that are computed, over the batch; a scalar."""
        return self.sample_density.mean()

    @property
    def dilated_density(self) -> Tensor:
        """Share of the input positions that are needed, over the batch; a scalar."""
        return self.sample_dilated_density.mean()

    @property
    def sample_density(self) -> Tensor:
        """:attr:`density` of each sample, (N,)."""
        return _sample_means(self.coarse)

    @property
    def sample_dilated_density(self) -> Tensor:
        """:attr:`dilated_density` of each sample, (N,)."""
        return _sample_means(self.dilated)


def output_size(size: tuple[int, int], stride: int) -> tuple[int, int]:
    """Tell the size of a padded convolution's output map: ceil(size / stride)."""
    return -(-size[0] // stride), -(-size[1] // stride)


def _sample_means(x: Tensor) -> Tensor:
    wide = torch.promote_types(x.dtype, torch.float32)
    return x.flatten(1).mean(1, dtype=wide)


class BaseGate(BaseModule):
    """A gate with two logits per decision, keep and skip, from one 1x1 convolution.

    In training decisions are drawn (:func:`gumbel_softmax_mask`), in eval mode they are
    compared (:func:`hard_mask`). ``ValueScheduleHook(targets='*.tau')`` anneals the
    temperature of all gates of a model.

    Args:
        in_channels: Channels C of the maps that it reads.
        groups: Decisions G per position; each is for C_out / G channels.
        tau: Temperature in training.
        keep_bias: Initial bias of the keep logits: large means that all is computed at
            first. The skip logits keep the convolution's own initialisation.
        weight_std: Standard deviation of the initial weights; None keeps the
            convolution's own initialisation.
        init_cfg: mmengine's initialisation config.

    Attributes:
        tau (float): The temperature.
        conv (nn.Conv2d): The only parameters, (2 G, C, 1, 1) and (2 G,).
    """

    def __init__(
        self,
        in_channels: int,
        groups: int = 1,
        tau: float = 1.0,
        keep_bias: float = 5.0,
        weight_std: float | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if groups < 1:
            raise ConfigError(f'a gate has at least one group, got groups={groups}')
        self.groups = groups
        self.tau = tau
        self.keep_bias = keep_bias
        self.weight_std = weight_std
        self.conv = nn.Conv2d(in_channels, 2 * groups, 1)
        self._initialise()

    @torch.no_grad()
    def _initialise(self) -> None:
        self.conv.reset_parameters()
        if self.weight_std is not None:
            nn.init.normal_(self.conv.weight, 0, self.weight_std)
        self.conv.bias[: self.groups] = self.keep_bias

    def init_weights(self) -> None:
        """Initialise; a net's own rule for all its convolutions does not hold here."""
        self._initialise()
        super().init_weights()

    def decide(self, logits: Tensor) -> Tensor:
        """Turn logits (N, 2 G, h, w) into decisions (N, G, h, w)."""
        n, _, h, w = logits.shape
        pairs = logits.view(n, 2, self.groups, h, w)
        if self.training:
            return gumbel_softmax_mask(pairs, self.tau)
        return hard_mask(pairs)
