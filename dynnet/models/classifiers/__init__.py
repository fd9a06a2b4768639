"""Classifiers; they need mmpretrain."""

from .early_exit import run_early_exit, run_to_exit
from .multi_exit_classifier import MultiExitClassifier

__all__ = ['MultiExitClassifier', 'run_early_exit', 'run_to_exit']
