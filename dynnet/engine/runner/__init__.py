"""Loops."""

from .early_exit_loop import EarlyExitTestLoop
from .few_shot_loop import FewShotTestLoop

__all__ = ['EarlyExitTestLoop', 'FewShotTestLoop']
