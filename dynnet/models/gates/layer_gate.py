"""Whether a sample computes a block at all."""

from dynnet.registry import MODELS

from .spatial_gate import SpatialGate


@MODELS.register_module()
class LayerGate(SpatialGate):
    """Layer skipping: one decision per sample, on the average of the block's input.

    That is a spatial gate whose patch is the whole map, at any size of the map
    (what LASNet's journal version, LAUDNet, calls layer skipping).

    Args:
        in_channels: Channels of the block's input.
        **kwargs: Those of :class:`SpatialGate` but ``granularity``.
    """

    def __init__(self, in_channels: int, **kwargs) -> None:
        super().__init__(in_channels, granularity=1, **kwargs)

    def grid(self, height: int, width: int) -> tuple[int, int]:
        """One patch."""
        return 1, 1
