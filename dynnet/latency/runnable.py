"""A described network that can be run: random weights, masks given from outside."""

from collections.abc import Callable

import torch
from torch import Tensor

from dynnet.ops.sparse_conv import run_blocks

from .density import Density
from .dilation import make_masks
from .measure import layer_call, mask_density, random_block, random_map, run_gate
from .network import BlockSpec, NetworkSpec


class RunnableNetwork:
    """A described network with random weights, its masks given from outside.

    The gates do their work; then the given masks take the place of what they say.

    Args:
        spec: The network.
        batch: Pictures.
        density: Share of active cells, for each block.
        kind: Mask generator.
        seed: Of weights and masks.
    """

    def __init__(
        self,
        spec: NetworkSpec,
        batch: int,
        density: float,
        kind: str = 'blob',
        seed: int = 0,
    ) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.spec, self.batch = spec, batch
        self.stem = [layer_call(layer, batch, generator) for layer in spec.stem]
        self.head = [layer_call(layer, batch, generator) for layer in spec.head]
        self.blocks, self.densities = [], {}
        for i, block in enumerate(spec.blocks):
            folded = random_block(block, generator)
            for conv in folded.convs[2:]:
                conv.weight.mul_(0.2)  # the sums of many blocks stay small
            gate = None
            if block.granularity:
                masks = make_masks(batch, block.cells, density, kind, seed + i)
                self.densities[block.name] = mask_density(masks, block)
                gate = self._gate(block, torch.from_numpy(masks), generator)
            else:
                self.densities[block.name] = Density(1.0, 1.0)
            self.blocks.append((gate, folded))
        first = spec.stem[0] if spec.stem else spec.blocks[0]
        self.x = random_map(batch, first.in_channels, first.in_size, generator)

    @staticmethod
    def _gate(block: BlockSpec, mask: Tensor, generator: torch.Generator) -> Callable:
        weight = torch.randn(2, block.in_channels, 1, 1, generator=generator)
        bias = torch.zeros(2)

        def gate(x: Tensor) -> Tensor:
            run_gate(x, weight, bias, block.cells)
            return mask

        return gate

    def __call__(self, backend: str, gated: bool = True) -> Tensor:
        """Run it.

        Args:
            backend: Backend of the blocks.
            gated: Whether there are gates; else all is computed.
        """
        x = self.x
        for call in self.stem:
            x = call(x)
        blocks = self.blocks if gated else [(None, block) for _, block in self.blocks]
        x, _ = run_blocks(x, blocks, backend, owns_input=bool(self.stem))
        for call in self.head:
            x = call(x)
        return x
