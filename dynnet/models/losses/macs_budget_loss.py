"""Bring a gated network to its share of the dense MACs."""

import math

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor

from dynnet.registry import MODELS
from dynnet.utils.errors import ConfigError

from ..gates import GateMeter


def ratio_bounds(target: float, progress: float) -> tuple[float, float]:
    """Tell between which bounds a block's share of its MACs is free.

    At first both are the target, at last they are 0 and 1, in between they open along
    ``gamma = cos^2(pi * progress / 2)`` (LASNet, arXiv 2210.06223).

    Args:
        target: Share of the MACs that the whole network is to have.
        progress: From 0 to 1.

    Returns:
        Lower and upper bound.
    """
    gamma = math.cos(math.pi * min(max(progress, 0.0), 1.0) / 2) ** 2
    return gamma * target, 1 - gamma * (1 - target)


def bounds_loss(ratios: Tensor, lower: float, upper: float) -> Tensor:
    """Mean squared distance of ``ratios`` (blocks,) to [lower, upper], a scalar."""
    return (F.relu(ratios - upper) ** 2 + F.relu(lower - ratios) ** 2).mean()


def target_loss(macs: Tensor, full_macs: float, target: float) -> Tensor:
    """Squared distance of ``macs / full_macs`` to the target, a scalar."""
    return (macs / full_macs - target) ** 2


@MODELS.register_module()
class MACsBudgetLoss(BaseModule):
    """LASNet's loss on what the gates decided: MACs target and bounds per block.

    ``loss_weight * ((macs / full - target)^2 + mean_b dist(ratio_b, bounds)^2)``. The
    bounds are opened by a hook that moves ``progress``::

        dict(type='dynnet.ValueScheduleHook', targets='budget.progress',
             values=(0.0, 1.0), begin=0, end=33, per_iter=False)

    Without the hook they are open, and only the target counts.

    Args:
        target: Share of the full MACs, between 0 and 1.
        loss_weight: 10 in the paper's classification, 1 in its detection.
        with_bounds: Whether blocks are bounded at all.

    Attributes:
        progress (float): How far the bounds have opened, from 0 to 1.

    Raises:
        ConfigError: ``target`` outside of (0, 1).
    """

    def __init__(
        self, target: float, loss_weight: float = 10.0, with_bounds: bool = True
    ) -> None:
        super().__init__()
        if not 0 < target < 1:
            raise ConfigError(
                f'target={target}: the share of MACs to compute lies between 0 and 1'
            )
        self.target = target
        self.loss_weight = loss_weight
        self.with_bounds = with_bounds
        self.progress = 1.0

    def forward(
        self, meter: GateMeter, full_macs: float | None = None
    ) -> dict[str, Tensor]:
        """Compute the losses of one forward pass.

        Args:
            meter: What the gates decided.
            full_macs: MACs per picture of the dense network; None takes the gated
                network's own when everything is computed.

        Returns:
            ``loss_macs``, with bounds ``loss_bounds``, and for the log ``density``, the
            mean over the blocks, and ``macs_ratio``.

        Raises:
            ConfigError: No gated block reported.
        """
        if not meter.records:
            raise ConfigError('a MACs budget needs a backbone with gates')
        full = meter.dense_macs if full_macs is None else full_macs
        macs = meter.macs
        losses = dict(loss_macs=self.loss_weight * target_loss(macs, full, self.target))
        if self.with_bounds:
            bounds = ratio_bounds(self.target, self.progress)
            losses['loss_bounds'] = self.loss_weight * bounds_loss(
                meter.ratios, *bounds
            )
        with torch.no_grad():
            losses['density'] = meter.densities.mean()
            losses['macs_ratio'] = macs.detach() / full
        return losses
