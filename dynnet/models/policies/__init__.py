"""Policies: networks that decide where to look, and how they are trained."""

from .gating import gate_threshold
from .patch_policy import PatchPolicy, PolicyOutput
from .ppo import PPOTerms, discounted_returns, normalise_returns, ppo_loss
from .rewards import confidence, confidence_reward, gate_reward

__all__ = [
    'PPOTerms',
    'PatchPolicy',
    'PolicyOutput',
    'confidence',
    'confidence_reward',
    'discounted_returns',
    'gate_reward',
    'gate_threshold',
    'normalise_returns',
    'ppo_loss',
]
