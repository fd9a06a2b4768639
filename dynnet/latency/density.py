"""How much of a block is computed, and the first convolution's share of it."""

from __future__ import annotations

from dataclasses import dataclass

from dynnet.utils.errors import ConfigError


@dataclass(frozen=True)
class Density:
    """Shares of the positions of a block that are computed.

    Attributes:
        active: Share r of the output positions.
        dilated: Share of the input positions that the first convolution computes
            because the 3 x 3 one reads them; None where a model does not need it.
    """

    active: float
    dilated: float | None = None

    def __post_init__(self) -> None:
        for name in ('active', 'dilated'):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= 1:
                raise ConfigError(f'density {name}={value!r} must lie in [0, 1]')
