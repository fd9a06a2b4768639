"""Share of positions that the first convolution computes, for a density and an S.

The 3 x 3 convolution reads one position beyond each active patch. How many positions
that adds depends on S and on how the active patches lie: side by side or scattered.
"""

import json
import os
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy import ndarray

from dynnet.utils.atomic import write_atomic
from dynnet.utils.errors import ConfigError

from .network import BlockSpec

GENERATORS = ('blob', 'random')
SHARES = tuple(i / 20 for i in range(21))


def make_masks(
    count: int, cells: tuple[int, int], share: float, kind: str = 'blob', seed: int = 0
) -> ndarray:
    """Draw masks with a given share of active cells.

    Args:
        count: Number of masks.
        cells: (height, width) of the grid.
        share: Share of active cells, rounded to whole cells in every mask.
        kind: ``'random'``: each cell for itself; ``'blob'``: where a smooth random
            field is high, as trained gates do it.
        seed: Of the random numbers.

    Returns:
        Boolean (count, height, width).

    Raises:
        ConfigError: Unknown kind, or a share outside of [0, 1].
    """
    if kind not in GENERATORS:
        raise ConfigError(f'mask generator {kind!r}: one of {", ".join(GENERATORS)}')
    if not 0 <= share <= 1:
        raise ConfigError(f'share of active cells {share!r} must lie in [0, 1]')
    height, width = cells
    rng = np.random.default_rng(seed)
    field = rng.standard_normal((count, height, width))
    if kind == 'blob' and min(cells) > 2:
        side = max(3, 2 * (min(cells) // 4) + 1)
        field = _smooth(field, side) + 0.02 * rng.standard_normal(field.shape)
    flat = field.reshape(count, -1)
    active = round(share * flat.shape[1])
    order = np.argsort(-flat, axis=1)
    masks = np.zeros(flat.shape, dtype=bool)
    np.put_along_axis(masks, order[:, :active], True, axis=1)
    return masks.reshape(count, height, width)


def _smooth(field: ndarray, side: int) -> ndarray:
    """Mean over windows of ``side`` squared, with zeros outside."""
    for axis in (1, 2):
        pad = [(0, 0)] * 3
        pad[axis] = (side // 2 + 1, side // 2)
        total = np.cumsum(np.pad(field, pad), axis=axis)
        upper = np.take(total, range(side, total.shape[axis]), axis=axis)
        lower = np.take(total, range(total.shape[axis] - side), axis=axis)
        field = (upper - lower) / side
    return field


def dilated_share(masks: ndarray, out_size: tuple[int, int], stride: int = 1) -> float:
    """Share of input positions that a padded 3 x 3 convolution reads for masks.

    Args:
        masks: Boolean (B, h, w), at most ``out_size``; upsampled to the nearest cell.
        out_size: (height, width) of the convolution's output.
        stride: Its stride.

    Returns:
        The mean over the masks.
    """
    height, width = out_size
    rows = np.arange(height) * masks.shape[1] // height
    cols = np.arange(width) * masks.shape[2] // width
    full = masks[:, rows][:, :, cols]
    spread = np.zeros((len(full), stride * height + 2, stride * width + 2), dtype=bool)
    for dy in range(3):
        for dx in range(3):
            at = (
                slice(dy, dy + stride * height, stride),
                slice(dx, dx + stride * width, stride),
            )
            spread[:, at[0], at[1]] |= full
    return float(spread[:, 1:-1, 1:-1].mean())


@lru_cache(maxsize=256)
def _generated(
    kind: str, cells: tuple[int, int], out_size: tuple[int, int], stride: int
) -> tuple[float, ...]:
    # Few cells: many masks, or single ones would decide.
    count = max(4, min(64, 4096 // (out_size[0] * out_size[1])))
    return tuple(
        dilated_share(make_masks(count, cells, share, kind, seed=i), out_size, stride)
        for i, share in enumerate(SHARES)
    )


class DilationCurve:
    """Dilated share of an active one, per size of map, S and stride.

    Args:
        kind: A mask generator, for what no table holds; None: there is none.
        tables: ``{'HxW/hxw/s': [[active], [dilated]]}`` for output maps of H x W with
            a grid of h x w at stride s, both lists ascending.
    """

    def __init__(self, kind: str | None = 'blob', tables: dict | None = None) -> None:
        if kind is not None and kind not in GENERATORS:
            raise ConfigError(
                f'mask generator {kind!r}: one of {", ".join(GENERATORS)}'
            )
        self.kind = kind
        self.tables = tables or {}

    def __call__(self, block: BlockSpec, active: float) -> float:
        """Look a block up.

        Args:
            block: The block.
            active: Share of active output positions.

        Returns:
            Share of input positions that its first convolution computes.

        Raises:
            ConfigError: No table holds the block and there is no generator.
        """
        key = self._key(block.out_size, block.cells, block.stride)
        if key in self.tables:
            known, dilated = self.tables[key]
        elif self.kind is not None:
            known = SHARES
            dilated = _generated(self.kind, block.cells, block.out_size, block.stride)
        else:
            raise ConfigError(
                f'block {block.name}: the stored curves have none for {key} '
                f'(there are {", ".join(sorted(self.tables))})'
            )
        return float(np.interp(active, known, dilated))

    def add_masks(
        self, masks: Sequence[ndarray], out_size: tuple[int, int], stride: int = 1
    ) -> None:
        """Store the curve of given masks.

        Args:
            masks: Boolean (B, h, w) each, of blocks with the same map and grid.
            out_size: (height, width) of the blocks' output.
            stride: Of the blocks.
        """
        points = {
            0.0: 0.0,
            1.0: dilated_share(np.ones((1, 1, 1), bool), out_size, stride),
        }
        for batch in masks:
            for mask in batch:
                share = round(float(mask.mean()), 6)
                if 0 < share < 1:
                    points[share] = dilated_share(mask[None], out_size, stride)
        active = sorted(points)
        # A curve cannot fall: more active positions read no fewer.
        dilated = np.maximum.accumulate([points[a] for a in active]).tolist()
        cells = masks[0].shape[1:]
        self.tables[self._key(out_size, cells, stride)] = [active, dilated]

    def store(self, blocks: Sequence[BlockSpec]) -> None:
        """Store the generator's curves of blocks.

        Args:
            blocks: The blocks; those without a gate are left out.
        """
        for block in blocks:
            if block.granularity:
                key = self._key(block.out_size, block.cells, block.stride)
                args = self.kind, block.cells, block.out_size, block.stride
                self.tables.setdefault(key, [list(SHARES), list(_generated(*args))])

    def save(self, path: str | os.PathLike) -> None:
        """Write the stored curves as JSON."""
        values = dict(kind=self.kind, tables=self.tables)
        write_atomic(path, (json.dumps(values, indent=1) + '\n').encode())

    @classmethod
    def load(cls, path: str | os.PathLike) -> 'DilationCurve':
        """Read stored curves.

        Args:
            path: What :meth:`save` wrote.

        Raises:
            ConfigError: The file is missing or holds something else.
        """
        try:
            values = json.loads(Path(path).read_text())
            curve = cls(values['kind'], values['tables'])
            for key, (active, dilated) in curve.tables.items():
                if len(active) != len(dilated) or sorted(active) != active:
                    raise ConfigError(f'{path}: {key}: active shares must ascend')
        except (OSError, KeyError, TypeError, ValueError) as error:
            if isinstance(error, ConfigError):
                raise
            raise ConfigError(f'{path} holds no dilation curves: {error!r}') from None
        return curve

    @staticmethod
    def _key(out_size: Sequence[int], cells: Sequence[int], stride: int) -> str:
        return f'{out_size[0]}x{out_size[1]}/{cells[0]}x{cells[1]}/{stride}'
