"""The contract of a backbone that can stop at any of its exits."""

from collections.abc import Iterator
from typing import Any

from mmengine.model import BaseModule
from torch import Tensor

from dynnet.utils.errors import ConfigError


class MultiExitBackbone(BaseModule):
    """A backbone with several exits that runs from exit to exit.

    ``forward`` computes every exit. A driver that wants to stop early asks for one
    exit at a time and drops the samples that left in between::

        state = backbone.init_state(x)
        for k in range(backbone.num_exits):
            feat, state = backbone.step(state)
            ...                                     # decide who leaves
            state = backbone.select(state, stay)    # indices of those who stay

    Attributes:
        num_exits (int): Number of exits E.
        exit_channels (tuple[int]): Channels of the feature at each exit.
        exit_index (int | None): The exit (from 0) that a cut net was cut at.
    """

    num_exits: int
    exit_channels: tuple[int, ...]
    exit_index: int | None = None

    def init_state(self, x: Tensor) -> Any:
        """Start on a batch (N, 3, H, W); runs what all exits share: the stem."""
        raise NotImplementedError

    def step(self, state: Any) -> tuple[Tensor, Any]:
        """Run to the next exit.

        Returns:
            The exit's feature (N, C_k, h, w) and the state to go on from. The state
            that was given is spent.
        """
        raise NotImplementedError

    def select(self, state: Any, index: Tensor) -> Any:
        """Keep the samples ``index`` (M,), int64, of the batch."""
        raise NotImplementedError

    def iter_exits(self, x: Tensor) -> Iterator[Tensor]:
        """Yield the exits' features one by one; what is not asked for is not run."""
        state = self.init_state(x)
        for _ in range(self.num_exits):
            feat, state = self.step(state)
            yield feat

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return the features of all exits, (N, C_k, h, w) each.

        A backbone cut at ``exit_index`` returns that exit's alone.
        """
        feats = tuple(self.iter_exits(x))
        return feats if self.exit_index is None else feats[-1:]


def check_exit_index(exit_index: int | None, num_exits: int) -> int:
    """Return how many exits a net cut at ``exit_index`` (from 0) has to build.

    Raises:
        ValueError: there is no such exit.
    """
    if exit_index is None:
        return num_exits
    if not 0 <= exit_index < num_exits:
        raise ConfigError(
            f'exit_index={exit_index}: the net has exits 0 to {num_exits - 1}'
        )
    return exit_index + 1
