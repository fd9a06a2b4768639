"""Keep maps channels-last while training, where convolutions run faster that way."""

import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner

from dynnet.registry import HOOKS


def to_channels_last(model: torch.nn.Module) -> None:
    """Lay out the weights of 2-D convolutions channels-last, in place.

    Convolutions hand their weights' layout on to their maps, so that the inputs need
    no treatment. Values, shapes and checkpoints stay as they are.

    Args:
        model: Any model; parameters without four dimensions are left alone.
    """
    for parameter in model.parameters():
        if parameter.dim() == 4:
            parameter.data = parameter.data.contiguous(
                memory_format=torch.channels_last
            )


@HOOKS.register_module()
class ChannelsLastHook(Hook):
    """Train with channels-last maps.

    Results are equal up to rounding, and checkpoints fit either layout. What it is
    worth depends on machine and network: measure.

    Example:
        >>> custom_hooks = [dict(type='dynnet.ChannelsLastHook')]
    """

    def before_train(self, runner: Runner) -> None:
        """Convert the model, after its weights are loaded."""
        to_channels_last(runner.model)
