"""Classifiers; they need mmpretrain."""

from .cam_config import add_cam_loss
from .cam_distill_classifier import CAMDistillClassifier
from .early_exit import run_early_exit, run_to_exit
from .freeze_exit import freeze_exit_config, freeze_exit_state
from .gated_classifier import GatedClassifier
from .l2w_classifier import L2WClassifier
from .multi_exit_classifier import MultiExitClassifier

__all__ = [
    'CAMDistillClassifier',
    'GatedClassifier',
    'L2WClassifier',
    'MultiExitClassifier',
    'add_cam_loss',
    'freeze_exit_config',
    'freeze_exit_state',
    'run_early_exit',
    'run_to_exit',
]
