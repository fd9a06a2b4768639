"""Loops."""

from .early_exit_loop import EarlyExitTestLoop
from .few_shot_loop import FewShotTestLoop
from .ppo_loop import PPOTrainLoop

__all__ = ['EarlyExitTestLoop', 'FewShotTestLoop', 'PPOTrainLoop']
