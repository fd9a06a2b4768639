from .base import MultiExitBackbone
from .block_swap import BlockSwapMixin
from .msdnet import MSDNet
from .ranet import RANet
from .staged import StagedBackbone

__all__ = [
    'BlockSwapMixin',
    'MSDNet',
    'MultiExitBackbone',
    'RANet',
    'StagedBackbone',
]
