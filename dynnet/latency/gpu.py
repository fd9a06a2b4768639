"""Operators on a device of many processing elements: the published analytic model.

A tile of the output belongs to one processing element; a kernel takes the time of its
arithmetic, plus that of its traffic to the device's memory and to the L2 cache, plus a
constant to launch it (LAUDNet, section "hardware-aware latency prediction"). Lengths
are those of one picture, times those of the whole batch.
"""

import math

import numpy as np
from numpy import ndarray

from .cost import OpCost, sum_costs
from .profile import GPUProfile
from .tiling import candidates, ceil_div, grid, powers, search

# Parallel patches are searched as if there were this many.
PARALLEL_PATCHES = 256


def lane_use(work: ndarray | int, lanes: int) -> ndarray | float:
    """Share of the lanes that are busy when ``work`` items are dealt out to them."""
    return work / (lanes * ceil_div(work, lanes))


def request_use(run: ndarray | int, gap: ndarray | int, width: int) -> ndarray:
    """Share of the bytes of memory requests that are wanted.

    Args:
        run: Numbers that lie side by side.
        gap: Unwanted numbers before the next run; negative is none.
        width: Numbers per request.
    """
    run, gap = np.asarray(run), np.maximum(gap, 0)
    return np.where(
        run > width,
        lane_use(run, width),
        np.where(run + gap > width, run / width, run / (run + gap)),
    )


def active_patches(height: int, width: int, granularity: int, density: float) -> int:
    """Patches of an output map that are computed.

    Args:
        height: Of the output map.
        width: Of the output map.
        granularity: Side of a patch.
        density: Share of the patches that are computed.
    """
    return math.ceil(density * _patches(height, width, granularity))


def _patches(height: int, width: int, granularity: int) -> int:
    return ceil_div(height, granularity) * ceil_div(width, granularity)


class GPUOperators:
    """Prices operators on a device.

    Args:
        profile: The device.
        batch: Pictures that run together; None takes the profile's.
        tile_at: ``'mean'`` picks a dynamic operator's tile for the mean number of
            patches, as a kernel that is compiled before the density is known must
            (published); ``'actual'`` for the density at hand. None takes the
            profile's.
    """

    def __init__(
        self,
        profile: GPUProfile,
        batch: int | None = None,
        tile_at: str | None = None,
    ) -> None:
        self.profile = profile
        self.batch = profile.batch_size if batch is None else batch
        self.tile_at = profile.tile_at if tile_at is None else tile_at
        self._wave = int(profile.lanes * profile.wave_factor)
        self._memory = profile.bandwidth / 4  # float32 per second
        self._l2 = self._memory * profile.l2_speedup

    # --- helpers

    def _search(self, cost, *axes) -> tuple[OpCost, tuple[int, ...]]:
        mode, launch = self.profile.mode, self.profile.launch_s
        return search(cost, grid(*axes), mode, launch)

    def _dynamic(self, cost, patches: int, total: int, *axes) -> OpCost:
        """Choose a tile, for the mean number of patches or the actual one."""
        if self.tile_at == 'actual':
            return self._search(lambda *t: cost(patches, *t), *axes)[0]
        mean = (1 + total) / 2
        _, tile = self._search(lambda *t: cost(mean, *t), *axes)
        compute, memory = cost(patches, *map(np.int64, tile))
        profile = self.profile
        return OpCost(float(compute), float(memory), profile.launch_s, profile.mode)

    def _seconds(self, flops: ndarray, work: ndarray) -> ndarray:
        """Seconds of ``flops`` on the lanes of one element, fed with ``work`` items.

        The order of the operations decides which of equally fast tiles wins by a
        rounding error; this is the published one.
        """
        lanes = self.profile.lanes * lane_use(work, self._wave)
        return flops / self.profile.frequency_hz / lanes

    def _requests(self, run, gap) -> ndarray:
        return request_use(run, gap, self.profile.request_width)

    def _plain(self, memory: float) -> OpCost:
        """An operator that only moves data."""
        profile = self.profile
        return OpCost(0.0, float(memory), profile.launch_s, profile.mode)

    # --- convolutions

    def conv(
        self,
        in_channels: int,
        out_channels: int,
        in_height: int,
        in_width: int,
        kernel: int,
        stride: int = 1,
        groups: int = 1,
    ) -> OpCost:
        """A convolution of the whole map."""
        batch, fan_in = self.batch, in_channels // groups
        height, width = in_height // stride, in_width // stride
        weights = out_channels * fan_in * kernel**2
        maps = in_channels * height * width * stride**2 + out_channels * height * width

        def cost(c, th, tw):
            tiles = (
                ceil_div(out_channels, c) * ceil_div(height, th) * ceil_div(width, tw)
            )
            spans = ceil_div(c, out_channels // groups)
            halo = (th + kernel - 1) * stride * (tw + kernel - 1) * stride
            tile = c * fan_in * kernel**2
            tile = tile + batch * (spans * fan_in * halo + c * th * tw)
            memory = (weights + batch * maps) / self._memory + tiles * tile / (
                self._l2 * self._requests(tw, width - tw)
            )
            work = c * th * tw
            flops = work * fan_in * kernel**2 * batch
            compute = self._seconds(flops, work)
            return compute * ceil_div(tiles, self.profile.num_pe), memory

        axes = candidates(out_channels), candidates(height), candidates(width)
        return self._search(cost, *axes)[0]

    def dynamic_conv(
        self,
        in_channels: int,
        out_channels: int,
        in_height: int,
        in_width: int,
        kernel: int,
        granularity: int,
        density: float,
        stride: int = 1,
        groups: int = 1,
        gathered: bool = False,
    ) -> OpCost:
        """A convolution of the active patches.

        Args:
            in_channels: Channels of the input.
            out_channels: Channels of the output.
            in_height: Of the input map.
            in_width: Of the input map.
            kernel: Side of the kernel.
            granularity: Side of a patch of the output.
            density: Share of the patches that are computed.
            stride: Of the convolution.
            groups: Of the convolution.
            gathered: The input holds the active patches only.
        """
        batch, fan_in, side = self.batch, in_channels // groups, granularity
        height, width = in_height // stride, in_width // stride
        total = _patches(height, width, side)
        weights = out_channels * fan_in * kernel**2
        whole = in_channels * height * width * stride**2
        patch = in_channels * ((side + kernel - 1) * stride) ** 2

        def cost(m, par, c, th, tw):
            tiles = ceil_div(out_channels, c) * ceil_div(side, th) * ceil_div(side, tw)
            spans = ceil_div(c, out_channels // groups)
            halo = (th + kernel - 1) * stride * (tw + kernel - 1) * stride
            tile = c * fan_in * kernel**2
            tile = tile + batch * m * (spans * fan_in * halo + c * th * tw)
            read = m * patch if gathered else whole
            traffic = weights + batch * (read + m * out_channels * side**2)
            memory = traffic / self._memory + tiles * tile / self._l2
            work = c * th * tw
            flops = work * fan_in * kernel**2 * par
            compute = self._seconds(flops, work * batch * par)
            compute = compute * np.ceil(m / par) * batch
            return compute * ceil_div(tiles, self.profile.num_pe), memory

        patches = active_patches(height, width, side, density)
        axes = candidates(PARALLEL_PATCHES), candidates(out_channels)
        sides = candidates(side), candidates(side)
        return self._dynamic(cost, patches, total, *axes, *sides)

    def masker_conv1(
        self,
        in_channels: int,
        out_channels: int,
        height: int,
        width: int,
        granularity: int,
        density: float,
        fuse: bool | None = None,
    ) -> OpCost:
        """The gate and the block's first 1 x 1 convolution.

        Args:
            in_channels: Channels of the block's input.
            out_channels: Channels of the convolution.
            height: Of the block's input.
            width: Of the block's input.
            granularity: Side of a patch.
            density: Share of the patches that are computed.
            fuse: True: one dense convolution with a channel more; False: the gate,
                then the convolution of the active patches; None: the faster of both.
        """
        options = []
        if fuse is not False:
            options.append(self.conv(in_channels, out_channels + 1, height, width, 1))
        if fuse is not True:
            gate = self.conv(in_channels, 2, height, width, 1)
            size = (in_channels, out_channels, height, width)
            conv1 = self.dynamic_conv(*size, 1, granularity, density)
            options.append(sum_costs([gate, conv1]))
        return min(options, key=lambda cost: cost.latency)

    # --- between convolutions

    def scatter_add(
        self, channels: int, height: int, width: int, granularity: int, density: float
    ) -> OpCost:
        """Add the active patches to the whole map."""
        batch, side = self.batch, granularity
        total = _patches(height, width, side)

        def cost(m, par, c, th, tw):
            tiles = ceil_div(channels, c) * ceil_div(side, th) * ceil_div(side, tw)
            work = c * th * tw
            whole = 2 * channels * height * width
            memory = batch * (m * channels * side**2 + whole) / self._memory
            near = 3 * work * m * tiles * batch
            memory = memory + near / (self._l2 * self._requests(tw, side - tw))
            compute = self._seconds(work * par, work * batch * par)
            compute = compute * np.ceil(m / par) * batch
            return compute * ceil_div(tiles, self.profile.num_pe), memory

        patches = active_patches(height, width, side, density)
        sides = candidates(side), candidates(side)
        axes = candidates(total), candidates(channels), *sides
        return self._dynamic(cost, patches, total, *axes)

    def gather(
        self,
        channels: int,
        height: int,
        width: int,
        granularity: int,
        density: float,
        pad: int = 0,
    ) -> OpCost:
        """Copy the active patches, with a margin, out of a map; or into one."""
        side = granularity + 2 * pad
        patches = active_patches(height, width, granularity, density)
        moved = channels * patches * side**2
        use = self._requests(side, width - side)
        whole = channels * height * width
        seconds = (whole + moved) / self._memory
        seconds += moved / (self._l2 * use) + moved / self._l2
        return self._plain(self.batch * seconds)

    def scatter(
        self, channels: int, height: int, width: int, granularity: int, density: float
    ) -> OpCost:
        """Copy the active patches into a map."""
        return self.gather(channels, height, width, granularity, density)

    def add(self, channels: int, height: int, width: int) -> OpCost:
        """Add two maps."""

        def cost(c, th, tw):
            work = c * th * tw
            tiles = ceil_div(channels, c) * ceil_div(height, th) * ceil_div(width, tw)
            compute = self._seconds(work, work)
            compute = compute * ceil_div(tiles, self.profile.num_pe) * self.batch
            return compute, 3 * work * tiles * self.batch / self._memory

        axes = candidates(channels), candidates(height), candidates(width)
        return self._search(cost, *axes)[0]

    def avg_pool(
        self, channels: int, height: int, width: int, out_height: int, out_width: int
    ) -> OpCost:
        """Average pooling to a given size."""
        moved = channels * (height * width + out_height * out_width)
        return self._plain(self.batch * (moved / self._memory + moved / self._l2))

    def linear(self, in_features: int, out_features: int) -> OpCost:
        """A fully connected layer.

        The published form takes the area of a tile for the number of tiles; kept, so
        that its figures come out.
        """

        def cost(co, ci):
            area = co * ci
            batch = self.batch
            whole = batch * (in_features * out_features + in_features + out_features)
            near = batch * (area + ci + co) * area
            use = self._requests(ci, in_features)
            memory = whole / self._memory + near / (self._l2 * use)
            compute = self._seconds(area * batch, area * batch)
            return compute * ceil_div(area, self.profile.num_pe), memory

        axes = candidates(out_features), candidates(in_features)
        return self._search(cost, *axes)[0]

    # --- squeeze and excitation

    def squeeze_excite(
        self, channels: int, height: int, width: int, squeezed: int
    ) -> list[OpCost]:
        """Pool, two linear layers, and scale the channels of a map."""
        pool = self.squeeze_pool(channels, height, width)
        return self._excite(pool, channels, height, width, squeezed)

    def dynamic_squeeze_excite(
        self,
        channels: int,
        height: int,
        width: int,
        squeezed: int,
        granularity: int,
        density: float,
    ) -> list[OpCost]:
        """The same, pooling the active patches only."""
        size = channels, height, width
        pool = self.dynamic_squeeze_pool(*size, granularity, density)
        return self._excite(pool, *size, squeezed)

    def squeeze_pool(self, channels: int, height: int, width: int) -> OpCost:
        """The mean of every channel: positions are read, then added pairwise.

        A tile is c channels, a power of two, of one position. As published, what the
        tiles compute is counted for one picture of the batch.
        """
        batch, area = self.batch, height * width

        def cost(c):
            groups = ceil_div(channels, c)
            compute = self._seconds(c, c) * ceil_div(groups * area, self.profile.num_pe)
            compute = compute + self._pairwise(c, area) * batch
            far = groups * c * area + channels
            near = groups * c * (2 * area + 1)
            return compute, batch * (far / self._memory + near / self._l2)

        return self._search(cost, powers(channels))[0]

    def dynamic_squeeze_pool(
        self,
        channels: int,
        height: int,
        width: int,
        granularity: int,
        density: float,
    ) -> OpCost:
        """The mean of every channel over the active patches.

        A lane adds up a tile of a channel and of every ``par``-th patch, then the
        ``par`` sums; the sums of all tiles and patches are added pairwise, by one
        element. As published, these are as many as if all patches were active, the
        whole map is read besides the active patches, and the tile for the mean number
        of patches is chosen as if the sums of only one patch were added.
        """
        batch, side = self.batch, granularity
        total = _patches(height, width, side)

        def cost(m, added, par, c, th, tw):
            spans = ceil_div(side, th) * ceil_div(side, tw)
            groups, sums = ceil_div(channels, c), total * spans
            compute = self._seconds(c * th * tw * par, c * par) * np.ceil(m / par)
            compute = compute + self._seconds(c * par, c)
            compute = compute * ceil_div(groups * spans, self.profile.num_pe)
            compute = compute + self._pairwise(c, added * spans)
            far = channels * (height * width + m * side**2 + 1)
            read = c * th * tw * m / self._requests(tw, side - tw)
            near = groups * spans * (read + c) + c * (sums + 1)
            memory = far / self._memory + near / self._l2
            return compute * batch, memory * batch

        patches = active_patches(height, width, side, density)
        sides = candidates(side), candidates(side)
        axes = candidates(total), candidates(channels), *sides
        if self.tile_at == 'actual':
            return self._search(lambda *t: cost(patches, total, *t), *axes)[0]
        mean = (1 + total) / 2
        _, tile = self._search(lambda *t: cost(mean, 1, *t), *axes)
        compute, memory = cost(patches, total, *map(np.int64, tile))
        profile = self.profile
        return OpCost(float(compute), float(memory), profile.launch_s, profile.mode)

    def _pairwise(self, c: ndarray, sums: ndarray | int) -> ndarray:
        """Seconds of adding ``sums`` partial sums of c channels in pairs.

        A round leaves half of them, rounded up; the last one, which leaves a single
        sum, is free. As published, the lanes that idle in a round's last cycle are
        paid for twice.
        """
        left, seconds = ceil_div(np.asarray(sums), 2), 0.0
        while np.any(left > 1):
            work = c * left
            added = self._seconds(work, work) / lane_use(work, self.profile.lanes)
            seconds = seconds + np.where(left > 1, added, 0.0)
            left = ceil_div(left, 2)
        return seconds

    def channel_scale(self, channels: int, height: int, width: int) -> OpCost:
        """Multiply the channels of a map by one factor each."""
        batch = self.batch

        def cost(c, th, tw):
            work = c * th * tw
            tiles = ceil_div(channels, c) * ceil_div(height, th) * ceil_div(width, tw)
            near = (2 * work + c) * tiles * batch / self._requests(tw, width - tw)
            far = 2 * channels * height * width * batch
            compute = self._seconds(work, work)
            compute = compute * ceil_div(tiles, self.profile.num_pe) * batch
            return compute, far / self._memory + near / self._l2

        axes = candidates(channels), candidates(height), candidates(width)
        return self._search(cost, *axes)[0]

    def _excite(
        self, pool: OpCost, channels: int, height: int, width: int, squeezed: int
    ) -> list[OpCost]:
        down, up = self.linear(channels, squeezed), self.linear(squeezed, channels)
        return [pool, down, up, self.channel_scale(channels, height, width)]
