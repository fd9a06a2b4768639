from .exit_branches import ConvExit, LinearExit
from .multi_exit_head import MultiExitHead
from .sequence_head import (
    FrameMeanHead,
    MeanProbabilityHead,
    RecurrentHead,
    SequenceHead,
)

__all__ = [
    'ConvExit',
    'FrameMeanHead',
    'LinearExit',
    'MeanProbabilityHead',
    'MultiExitHead',
    'RecurrentHead',
    'SequenceHead',
]
