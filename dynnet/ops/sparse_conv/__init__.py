"""Residual blocks that compute only the active positions of a spatial mask.

``sparse_block(x, mask, folded)`` is the entry point; ``run_blocks`` runs a chain.
"""

from .block import BACKENDS, sparse_block, unavailable
from .chain import run_blocks
from .folded import FoldedBlock, FoldedBlockCache, FoldedConv, fold_block
from .pointwise import sparse_pointwise
from .problem import BackendUnavailableError, Problem, Rule
from .rules import density_rule

__all__ = [
    'BACKENDS',
    'BackendUnavailableError',
    'FoldedBlock',
    'FoldedBlockCache',
    'FoldedConv',
    'Problem',
    'Rule',
    'density_rule',
    'fold_block',
    'run_blocks',
    'sparse_block',
    'sparse_pointwise',
    'unavailable',
]
