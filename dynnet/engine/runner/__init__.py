"""Loops."""

from .early_exit_loop import EarlyExitTestLoop

__all__ = ['EarlyExitTestLoop']
