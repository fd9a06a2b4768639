"""Which frames are looked at closely: thresholds for a budget."""

import math

import torch
from torch import Tensor

from dynnet.utils.errors import ConfigError


def gate_threshold(
    gate_probs: Tensor, budget: float, glance_cost: float, focus_cost: float
) -> float:
    """Find the threshold of the gates by which clips cost a budget on average.

    A frame is looked at closely where its gate's probability reaches the threshold;
    tied ones together, so that the mean cost stays within the budget.

    Args:
        gate_probs: Of the frames of held-out clips (N, T).
        budget: Mean cost per clip, in any unit.
        glance_cost: Cost per frame of what always runs, in that unit.
        focus_cost: Cost per frame of looking closely.

    Returns:
        The threshold; +inf where the budget allows no frame.

    Raises:
        ConfigError: The budget is below the cost of the glances alone.
    """
    probs = gate_probs.flatten().sort(descending=True).values
    frames = gate_probs.shape[-1]
    share = (budget / frames - glance_cost) / focus_cost
    if share < -1e-9:
        raise ConfigError(
            f'budget {budget:g} is below {frames * glance_cost:g}, what the glances '
            'alone cost'
        )
    allowed = min(math.floor(share * len(probs) + 1e-9), len(probs))
    if allowed == 0:
        return math.inf
    if allowed == len(probs):
        return float(probs[-1])
    # Ties with the first frame that does not fit have to stay out as well.
    fitting = probs[:allowed][probs[:allowed] > probs[allowed]]
    return float(fitting[-1]) if len(fitting) else math.inf


def gate_log_probs(probs: Tensor, gates: Tensor) -> Tensor:
    """Log-probability of Bernoulli gates, (T, N) each."""
    eps = torch.finfo(probs.dtype).eps
    probs = probs.clamp(eps, 1 - eps)
    return torch.where(gates.bool(), probs, 1 - probs).log()


def gate_entropy(probs: Tensor) -> Tensor:
    """Entropy of Bernoulli gates in nats, (T, N)."""
    eps = torch.finfo(probs.dtype).eps
    probs = probs.clamp(eps, 1 - eps)
    return -(probs * probs.log() + (1 - probs) * (1 - probs).log())
