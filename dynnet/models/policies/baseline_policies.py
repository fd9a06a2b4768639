"""What a learned policy is compared with: chance, and the middle of the frame."""

import torch
from torch import Tensor

from dynnet.registry import MODELS

from .patch_policy import PatchPolicy, PolicyOutput


class _FixedPolicy(PatchPolicy):
    """Parameters and costs of a :class:`PatchPolicy`, whose say is not asked for.

    It loads a learned policy's checkpoint, so that the same network can be tested, and
    its classifier fine-tuned (stage 3), with other patches.
    """

    def places(self, actions: Tensor) -> Tensor:
        """The actions are places already: pairs (..., 2) in [0, 1]."""
        return actions


@MODELS.register_module()
class RandomPatchPolicy(_FixedPolicy):
    """Patches anywhere in the frame, drawn evenly and anew at every call.

    Draws from torch's global generator: a test repeats itself with the run's seed.

    Args:
        **kwargs: See :class:`PatchPolicy`.
    """

    def greedy(self, output: PolicyOutput) -> Tensor:
        """Random places (T, N, 2)."""
        return torch.rand((*output.values.shape, 2), device=output.values.device)


@MODELS.register_module()
class CentrePatchPolicy(_FixedPolicy):
    """Patches in the middle of the frame.

    Args:
        **kwargs: See :class:`PatchPolicy`.
    """

    def greedy(self, output: PolicyOutput) -> Tensor:
        """The middle (T, N, 2)."""
        return output.values.new_full((*output.values.shape, 2), 0.5)
