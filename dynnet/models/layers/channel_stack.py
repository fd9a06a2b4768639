"""Feature maps that grow along the channels, without copying what is there."""

import torch
from torch import Tensor


class ChannelStack:
    """Densely connected features: maps of one size, concatenated along channels.

    Every layer of a densely connected network reads all channels so far and appends
    its own. While gradients flow, each append is a ``torch.cat``. In inference
    (``capacity`` given) the maps live in one buffer that is as wide as the stack will
    get: an append writes only the new channels, and every prefix is a view. A prefix
    once handed out never changes. The buffer of a batch is channels-last, as the
    convolutions that read it want it; that of a single sample is not.

    Args:
        x: First maps (N, C, H, W).
        capacity: Channels the stack will have at the most; None to concatenate.
    """

    def __init__(self, x: Tensor, capacity: int | None = None) -> None:
        self.width = x.size(1)
        self._rows: Tensor | None = None
        self._buffer: Tensor | None = None
        self._prefixes: dict[int, Tensor] = {}
        if capacity is None:
            self._prefixes[self.width] = x
            return
        n, _, h, w = x.shape
        self._buffer = torch.empty(
            (n, capacity, h, w),
            dtype=x.dtype,
            device=x.device,
            memory_format=torch.channels_last if n > 1 else torch.contiguous_format,
        )
        self._buffer[:, : self.width] = x

    def append(self, x: Tensor) -> None:
        """Add maps (N, C', H, W)."""
        if self._buffer is None:
            x = torch.cat([self.prefix(), x], 1)
            self.width = x.size(1)
            self._prefixes[self.width] = x
        else:
            self._slot(x.size(1)).copy_(x)

    def append_relu(self, x: Tensor) -> None:
        """Add the positive part of maps (N, C', H, W)."""
        if self._buffer is None:
            self.append(x.relu())
        else:
            torch.clamp(x, min=0, out=self._slot(x.size(1)))

    def _slot(self, channels: int) -> Tensor:
        start, self.width = self.width, self.width + channels
        return self._flushed()[:, start : self.width]

    def prefix(self, width: int | None = None) -> Tensor:
        """The first ``width`` channels (all by default), (N, width, H, W).

        While concatenating, ``width`` must be one that the stack once had.
        """
        width = self.width if width is None else width
        if self._buffer is None:
            return self._prefixes[width]
        return self._flushed()[:, :width]

    def select(self, index: Tensor) -> 'ChannelStack':
        """The stack of the samples ``index`` (M,). A buffer's rows are gathered when
        they are first read: samples may leave several times at the price of one copy.
        """
        other = object.__new__(ChannelStack)
        other.width = self.width
        other._buffer = self._buffer
        other._rows = None
        other._prefixes = {}
        if self._buffer is None:
            for width, x in self._prefixes.items():
                other._prefixes[width] = x.index_select(0, index)
        else:
            other._rows = index if self._rows is None else self._rows[index]
        return other

    def _flushed(self) -> Tensor:
        if self._rows is not None:
            if (
                len(self._buffer) > 1
            ):  # a gather lays out the dimensions as it sees them
                rows = self._buffer.permute(0, 2, 3, 1).index_select(0, self._rows)
                self._buffer = rows.permute(0, 3, 1, 2)
            else:
                self._buffer = self._buffer.index_select(0, self._rows)
            self._rows = None
        return self._buffer
