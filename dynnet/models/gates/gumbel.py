"""Two-logit gates: noisy and differentiable in training, a comparison afterwards."""

import torch
import torch.nn.functional as F
from torch import Tensor


def hard_mask(logits: Tensor) -> Tensor:
    """Decide without noise: keep where the first logit is at least the second.

    Args:
        logits: (N, 2, ...): keep, then skip.

    Returns:
        (N, ...) of 0 and 1 in the type of ``logits``; ties keep, NaN skips.
    """
    return (logits[:, 0] >= logits[:, 1]).to(logits.dtype)


def gumbel_softmax_mask(logits: Tensor, tau: float) -> Tensor:
    """Decide with Gumbel noise; the gradient is that of the soft decision.

    A position is kept with probability softmax(logits)[keep], whatever the temperature;
    that only shapes the gradient (straight-through, Jang et al., 2017). The noise comes
    from torch's default generator. Computed in float32 at least.

    Args:
        logits: (N, 2, ...): keep, then skip.
        tau: Temperature, positive.

    Returns:
        (N, ...) of 0 and 1 in the type of ``logits``, differentiable.

    Raises:
        ValueError: ``tau`` is not positive.
    """
    if tau <= 0:
        raise ValueError(f'the temperature tau must be positive, got {tau}')
    wide = logits.to(torch.promote_types(logits.dtype, torch.float32))
    return F.gumbel_softmax(wide, tau=tau, hard=True, dim=1)[:, 0].to(logits.dtype)
