"""A chain of gated residual blocks, executed without spare copies."""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from .block import sparse_block
from .folded import FoldedBlock
from .problem import Rule
from .rules import density_rule

Gate = Callable[[Tensor], Tensor]


def run_blocks(
    x: Tensor,
    blocks: Iterable[tuple[Gate | None, FoldedBlock]],
    backend: str = 'auto',
    *,
    owns_input: bool = False,
    rule: Rule = density_rule,
    workspace: int = 64 << 20,
) -> tuple[Tensor, list[Tensor]]:
    """Run blocks one after the other, each where its gate wants it.

    A block's input is overwritten where the chain itself made it, never the caller's
    ``x`` (unless ``owns_input``). So the result of one chain (a stage) may be kept and
    be the ``x`` of the next.

    Args:
        x: (B, C, H, W).
        blocks: For each block, its gate and its folded form. The gate gets the block's
            input and returns its mask, (B, h, w) or (B, 1, h, w); without a gate the
            block is computed everywhere.
        backend: As in :func:`sparse_block`.
        owns_input: Nobody else keeps ``x``, and it comes from a ReLU.
        rule: As in :func:`sparse_block`.
        workspace: As in :func:`sparse_block`.

    Returns:
        The output, and the masks as the gates gave them.
    """
    masks = []
    for gate, block in blocks:
        if gate is None:
            mask = torch.ones(len(x), 1, 1, dtype=torch.bool, device=x.device)
        else:
            mask = gate(x)
        x = sparse_block(
            x, mask, block, backend, inplace=owns_input, rule=rule, workspace=workspace
        )
        owns_input = True
        masks.append(mask)
    return x, masks
