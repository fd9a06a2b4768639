from .base import MultiExitBackbone
from .msdnet import MSDNet
from .ranet import RANet
from .staged import StagedBackbone

__all__ = ['MSDNet', 'MultiExitBackbone', 'RANet', 'StagedBackbone']
