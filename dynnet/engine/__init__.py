"""Hooks and loops of training and testing."""

from . import hooks

__all__ = ['hooks']
