from .exit_branches import ConvExit, LinearExit
from .multi_exit_head import MultiExitHead

__all__ = ['ConvExit', 'LinearExit', 'MultiExitHead']
