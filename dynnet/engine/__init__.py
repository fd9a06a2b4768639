"""Hooks, loops and optimizers of training and testing."""

from . import hooks, runner, split_optim_wrapper

__all__ = ['hooks', 'runner', 'split_optim_wrapper']
