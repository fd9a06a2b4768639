"""What one pass through a batch of clips gave a policy to learn from."""

from dataclasses import dataclass

from torch import Tensor

from .patch_policy import PolicyOutput


@dataclass
class Rollout:
    """A buffer of T steps of N clips. Nothing in it but ``output`` has a gradient.

    Attributes:
        states: The policy's input (T, N, C, h, w).
        actions: Indices (T, N) or pairs (T, N, 2).
        log_probs: Of the actions (and gates) by the policy that chose them (T, N).
        rewards: Shape (T, N).
        corners: Pixels of the chosen patches (T, N, 2).
        logits: The classifier's after each chosen patch (T, N, C).
        baseline: Its logits after the other patch, or without one (T, N, C); None
            where the reward needs none.
        gates: 1 where the frame was looked at closely (T, N), or None.
        output: The policy's output that the actions were drawn from, with its graph.
            The first update uses it up; later ones run the policy anew.
    """

    states: Tensor
    actions: Tensor
    log_probs: Tensor
    rewards: Tensor
    corners: Tensor
    logits: Tensor
    baseline: Tensor | None = None
    gates: Tensor | None = None
    output: PolicyOutput | None = None
