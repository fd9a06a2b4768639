"""What the gates of one forward pass decided, and what that costs.

Gated blocks report to the meter that is open around them::

    with measure_gates() as meter:
        feats = backbone(x)
    meter.macs, meter.records[0].density

Nothing is kept on the modules and nothing is passed between them.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

import torch
from torch import Tensor

from .base import GateOutput


@dataclass(frozen=True)
class BlockCosts:
    """MACs of one picture in a gated bottleneck when everything is computed.

    Attributes:
        gate: The gate itself, always paid.
        inner: The first 1x1 convolution; needed where the dilated mask is 1.
        outer: The 3x3 and the last 1x1 convolution; needed where the mask is 1.
        identity: The projection, always paid; 0 without one.
    """

    gate: int
    inner: int
    outer: int
    identity: int = 0

    @property
    def dense(self) -> int:
        """Everything."""
        return self.gate + self.inner + self.outer + self.identity


@dataclass
class BlockRecord:
    """One gated block in one forward pass.

    Attributes:
        name: The block's name in its backbone.
        gate: The decisions.
        costs: MACs of the block's parts.
    """

    name: str
    gate: GateOutput
    costs: BlockCosts

    def _macs(self, density: Tensor, dilated_density: Tensor) -> Tensor:
        costs = self.costs
        dynamic = costs.inner * dilated_density + costs.outer * density
        return dynamic + (costs.gate + costs.identity)

    @property
    def macs(self) -> Tensor:
        """Mean MACs per picture, a scalar; its gradient goes through the density."""
        return self._macs(self.gate.density, self.gate.dilated_density)

    @property
    def sample_macs(self) -> Tensor:
        """MACs of each picture, (N,)."""
        return self._macs(self.gate.sample_density, self.gate.sample_dilated_density)

    @property
    def ratio(self) -> Tensor:
        """MACs relative to computing everything, gate included in both; a scalar."""
        return self.macs / self.costs.dense


@dataclass
class GateMeter:
    """The gated blocks of one forward pass, and what ran beside them.

    Attributes:
        records: The gated blocks in the order they ran.
        static_macs: MACs per picture of everything else that reported: stem, head.
    """

    records: list[BlockRecord] = field(default_factory=list)
    static_macs: int = 0

    @property
    def macs(self) -> Tensor:
        """Mean MACs per picture, a differentiable scalar."""
        return sum((r.macs for r in self.records), torch.tensor(0.0)) + self.static_macs

    @property
    def dense_macs(self) -> int:
        """MACs per picture when everything is computed, gates included."""
        return sum(r.costs.dense for r in self.records) + self.static_macs

    @property
    def sample_macs(self) -> Tensor:
        """MACs of each picture, (N,), float64."""
        parts = [r.sample_macs.detach().double() for r in self.records]
        return torch.stack(parts).sum(0) + self.static_macs

    @property
    def ratios(self) -> Tensor:
        """Every block's share of its dense MACs, (blocks,), differentiable."""
        return torch.stack([r.ratio for r in self.records])

    @property
    def densities(self) -> Tensor:
        """Every block's density over the batch, (blocks,)."""
        return torch.stack([r.gate.density for r in self.records])

    @property
    def sample_densities(self) -> Tensor:
        """Every block's density for each picture, (N, blocks)."""
        return torch.stack([r.gate.sample_density for r in self.records], 1)


_current: ContextVar[GateMeter | None] = ContextVar('gate_meter', default=None)


def current_meter() -> GateMeter | None:
    """Return the innermost open meter, or None when nobody listens."""
    return _current.get()


@contextmanager
def measure_gates() -> Iterator[GateMeter]:
    """Open a meter for the forward passes inside the ``with``.

    Yields:
        The meter; it is complete when the forward pass has returned.
    """
    meter = GateMeter()
    token = _current.set(meter)
    try:
        yield meter
    finally:
        _current.reset(token)
