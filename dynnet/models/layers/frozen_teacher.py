"""A trained network that teaches another one and is no part of it."""

import copy

import torch
from mmengine.runner import load_checkpoint
from torch import nn

from dynnet.registry import MODELS


class FrozenTeacher:
    """Hold a network that gives targets: frozen, in eval mode, outside of the student.

    It is not a module: a student that keeps it as an attribute has none of its
    parameters, neither in ``parameters()`` nor in the state dict, and ``train()`` does
    not reach it. It follows the device and type of the tensors that it is given, and a
    copy of the student shares it.

    Args:
        model: A built network, or the config of one.
        checkpoint: File or URL of its weights; they must fit exactly. None keeps those
            that the network has.

    Raises:
        RuntimeError: The weights do not fit the network.
    """

    def __init__(self, model: nn.Module | dict, checkpoint: str | None = None) -> None:
        if not isinstance(model, nn.Module):
            model = MODELS.build(copy.deepcopy(model))
        if checkpoint is not None:
            load_checkpoint(model, checkpoint, map_location='cpu', strict=True)
        self.model = model.eval().requires_grad_(False)

    def __deepcopy__(self, memo: dict) -> 'FrozenTeacher':
        return self  # nothing of it ever changes

    @torch.no_grad()
    def __call__(self, inputs: torch.Tensor, *args, method: str = 'forward', **kwargs):
        """Run the network without gradients.

        Args:
            inputs: First argument; the network goes to its device.
            *args: Further arguments.
            method: What to call: ``'forward'``, ``'extract_feat'``, ...
            **kwargs: Further arguments.

        Returns:
            What the method returns.
        """
        first = next(self.model.parameters(), None)
        if first is not None and first.device != inputs.device:
            self.model.to(inputs.device)
        self.model.eval()  # a hook that walks over live objects may have changed it
        return getattr(self.model, method)(inputs, *args, **kwargs)
