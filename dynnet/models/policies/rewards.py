"""What a patch was worth: rewards from the classifier's confidence in the truth.

Time comes first: arrays are (T, N), logits (T, N, C).
"""

import torch
from torch import Tensor

from dynnet.utils.errors import ConfigError

REWARDS = ('random', 'prev', 'conf')


def confidence(logits: Tensor, labels: Tensor) -> Tensor:
    """Softmax probability of the true class.

    Args:
        logits: Shape (T, N, C).
        labels: Shape (N,), int64.

    Returns:
        Shape (T, N), float32.
    """
    index = labels.view(1, -1, 1).expand(len(logits), -1, 1)
    return logits.float().softmax(-1).gather(-1, index).squeeze(-1)


def confidence_reward(
    logits: Tensor, labels: Tensor, baseline: Tensor | None = None, kind: str = 'random'
) -> Tensor:
    """Reward of every step.

    Args:
        logits: Classifier's logits after the chosen patch (T, N, C).
        labels: Shape (N,).
        baseline: Logits after a random patch at the same step, from the same state
            (T, N, C); only ``'random'`` reads it.
        kind: ``'random'``, how much better the chosen patch is than a random one (one
            sample of the expectation); ``'prev'``, how much better than a step ago;
            ``'conf'``, the confidence itself.

    Returns:
        Shape (T, N).

    Raises:
        ConfigError: Unknown kind.
    """
    gained = confidence(logits, labels)
    if kind == 'random':
        return gained - confidence(baseline, labels)
    if kind == 'prev':
        return gained - torch.cat([torch.zeros_like(gained[:1]), gained[:-1]])
    if kind == 'conf':
        return gained
    raise ConfigError(f'reward={kind!r} must be one of {", ".join(REWARDS)}')


def gate_reward(
    focused: Tensor, blank: Tensor, labels: Tensor, gates: Tensor, penalty: float
) -> Tensor:
    """Reward of looking at a frame closely or not (a reconstruction, see the README).

    Args:
        focused: Logits with the patch's feature (T, N, C).
        blank: Logits with zeros in its place, from the same state (T, N, C).
        labels: Shape (N,).
        gates: 1 where the frame was looked at (T, N), else 0.
        penalty: What looking costs.

    Returns:
        Shape (T, N): confidence gained minus penalty where the frame was looked at, 0
        elsewhere.
    """
    gained = confidence(focused, labels) - confidence(blank, labels)
    return gates.to(gained) * (gained - penalty)
