"""Proximal policy optimisation as one vectorised loss.

Time comes first: arrays are (T, N). The objective is AdaFocus's: discounted rewards
without a bootstrap, normalised over the whole buffer, no GAE, clipped surrogate,
value loss and entropy bonus.
"""

from dataclasses import dataclass

import torch
from mmengine import dist
from torch import Tensor


@dataclass
class PPOTerms:
    """The parts of a PPO loss.

    Attributes:
        loss_policy: Clipped surrogate, mean over the buffer, scalar.
        loss_value: Weighted squared error of the values, scalar.
        loss_entropy: Weighted negative entropy, scalar.
        returns: Normalised returns (T, N).
        advantages: Returns minus values (T, N), no gradient.
        ratio: New over old probability (T, N).
        surrogate: ``min(ratio * A, clip(ratio) * A)`` (T, N).
    """

    loss_policy: Tensor
    loss_value: Tensor
    loss_entropy: Tensor
    returns: Tensor
    advantages: Tensor
    ratio: Tensor
    surrogate: Tensor

    @property
    def loss(self) -> Tensor:
        """The sum of the three losses."""
        return self.loss_policy + self.loss_value + self.loss_entropy


def discounted_returns(rewards: Tensor, gamma: float) -> Tensor:
    """Sum rewards from each step on, ``R_t = r_t + gamma * R_{t + 1}``.

    Args:
        rewards: Shape (T, N).
        gamma: Discount.

    Returns:
        Shape (T, N).
    """
    returns = torch.empty_like(rewards)
    following = torch.zeros_like(rewards[0])
    for t in reversed(range(len(rewards))):
        following = rewards[t] + gamma * following
        returns[t] = following
    return returns


def normalise_returns(returns: Tensor, eps: float = 1e-5) -> Tensor:
    """Shift and scale to mean 0 and (unbiased) standard deviation 1, over all entries.

    Under data parallelism mean and deviation are those of all processes' entries, so
    that several processes do what one does with the whole batch.

    Args:
        returns: Shape (T, N) of this process.
        eps: Added to the deviation.

    Returns:
        Shape (T, N). A single entry, which has no deviation, becomes 0.
    """
    sums = torch.stack(
        [
            returns.sum(dtype=torch.float64),
            torch.tensor(returns.numel(), dtype=torch.float64, device=returns.device),
        ]
    )
    dist.all_reduce(sums)
    mean, count = sums[0] / sums[1], sums[1]
    squares = (returns - mean).square().sum(dtype=torch.float64)
    dist.all_reduce(squares)
    deviation = (squares / (count - 1).clamp(min=1)).sqrt()
    return ((returns - mean) / (deviation + eps)).to(returns.dtype)


def ppo_loss(
    rewards: Tensor,
    log_probs: Tensor,
    old_log_probs: Tensor,
    values: Tensor,
    entropy: Tensor,
    gamma: float = 0.7,
    clip: float = 0.2,
    value_weight: float = 0.5,
    entropy_weight: float = 0.01,
) -> PPOTerms:
    r"""Compute the loss of one update over a whole buffer.

    .. math::
        L = \overline{-\min(\rho A, \mathrm{clip}(\rho, 1 - c, 1 + c) A)}
            + w_V \overline{(V - \hat R)^2} - w_H \overline{H}

    with the ratio :math:`\rho = \pi / \pi_{old}`, normalised returns :math:`\hat R` and
    :math:`A = \hat R - V`.

    Args:
        rewards: Shape (T, N).
        log_probs: Of the stored actions by the current policy (T, N), with gradient.
        old_log_probs: By the policy that chose them (T, N).
        values: The critic's (T, N), with gradient.
        entropy: Of the current policy (T, N), with gradient.
        gamma: Discount.
        clip: c.
        value_weight: w_V.
        entropy_weight: w_H.

    Returns:
        The terms.
    """
    returns = normalise_returns(discounted_returns(rewards, gamma))
    advantages = returns - values.detach()
    ratio = (log_probs - old_log_probs.detach()).exp()
    surrogate = torch.min(
        ratio * advantages, ratio.clamp(1 - clip, 1 + clip) * advantages
    )
    return PPOTerms(
        loss_policy=-surrogate.mean(),
        loss_value=value_weight * (values - returns).square().mean(),
        loss_entropy=-entropy_weight * entropy.mean(),
        returns=returns,
        advantages=advantages,
        ratio=ratio,
        surrogate=surrogate,
    )
