"""Gates: what a network decides to compute, and what its decisions cost."""

from .base import BaseGate, GateOutput
from .execution import GatedBlock, set_execution
from .gated_model import GatedModelMixin
from .gumbel import gumbel_softmax_mask, hard_mask
from .layer_gate import LayerGate
from .meter import BlockCosts, BlockRecord, GateMeter, current_meter, measure_gates
from .spatial_gate import SpatialGate
from .static_flops import count_full_flops

__all__ = [
    'BaseGate',
    'BlockCosts',
    'BlockRecord',
    'GateMeter',
    'GateOutput',
    'GatedBlock',
    'GatedModelMixin',
    'LayerGate',
    'SpatialGate',
    'count_full_flops',
    'current_meter',
    'gumbel_softmax_mask',
    'hard_mask',
    'measure_gates',
    'set_execution',
]
