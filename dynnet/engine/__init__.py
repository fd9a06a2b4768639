"""Hooks and loops of training and testing."""

from . import hooks, runner

__all__ = ['hooks', 'runner']
