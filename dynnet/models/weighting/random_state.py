"""Drawing the same random numbers once more."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


class RandomState:
    """The random generators' state now, so that a forward can be repeated exactly.

    Args:
        device: Of the forward: the CPU's generator is kept, and a GPU's.
    """

    def __init__(self, device: torch.device) -> None:
        self._devices = [device] if device.type == 'cuda' else []
        self._cpu = torch.get_rng_state()
        self._cuda = [torch.cuda.get_rng_state(d) for d in self._devices]

    @contextmanager
    def again(self) -> Iterator[None]:
        """Within, the numbers drawn since are drawn again; outside, nothing changes."""
        with torch.random.fork_rng(self._devices):
            torch.set_rng_state(self._cpu)
            for device, state in zip(self._devices, self._cuda):
                torch.cuda.set_rng_state(state, device)
            yield
