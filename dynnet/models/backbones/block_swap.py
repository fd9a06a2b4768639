"""Change the blocks of mmpretrain's ResNet while it is built."""

from torch import nn


class BlockSwapMixin:
    """Hand every stage of a ResNet to :meth:`swap_blocks` as soon as it is built.

    Put it before mmpretrain's ResNet (or a subclass) in the bases. Stages are changed
    before ``frozen_stages`` freezes them, so what was swapped in is frozen as well, and
    before ``init_weights``. A subclass sets what :meth:`swap_blocks` needs before it
    calls ``super().__init__``; those must be no modules or parameters.

    Example:
        >>> class MyResNet(BlockSwapMixin, ResNet):
        ...     def swap_blocks(self, stage, blocks):
        ...         blocks[0].conv2 = MyConv(blocks[0].conv2)
    """

    def swap_blocks(self, stage: int, blocks: nn.Sequential) -> nn.Sequential | None:
        """Change or replace the blocks of one stage.

        Args:
            stage: From 0 to 3.
            blocks: The stage's blocks (mmpretrain's ``BasicBlock`` or ``Bottleneck``).

        Returns:
            What stands in the stage's place, or None for ``blocks``, changed in place.
        """
        raise NotImplementedError

    def make_res_layer(self, **kwargs) -> nn.Sequential:
        """Build one stage (called by the ResNet, in order)."""
        blocks = super().make_res_layer(**kwargs)
        swapped = self.swap_blocks(len(self.res_layers), blocks)
        return blocks if swapped is None else swapped
