from .base import MultiExitBackbone
from .msdnet import MSDNet
from .ranet import RANet

__all__ = ['MSDNet', 'MultiExitBackbone', 'RANet']
