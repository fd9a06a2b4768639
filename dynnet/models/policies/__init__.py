"""Policies: networks that decide where to look, and how they are trained."""

from .baseline_policies import CentrePatchPolicy, RandomPatchPolicy
from .gating import gate_threshold
from .patch_policy import PatchPolicy, PolicyOutput
from .ppo import PPOTerms, discounted_returns, normalise_returns, ppo_loss
from .rewards import confidence, confidence_reward, gate_reward

__all__ = [
    'CentrePatchPolicy',
    'PPOTerms',
    'PatchPolicy',
    'PolicyOutput',
    'RandomPatchPolicy',
    'confidence',
    'confidence_reward',
    'discounted_returns',
    'gate_reward',
    'gate_threshold',
    'normalise_returns',
    'ppo_loss',
]
