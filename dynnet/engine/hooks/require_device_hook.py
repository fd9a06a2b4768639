"""Ending a training that cannot work on this machine before it begins."""

from mmengine.hooks import Hook

from dynnet.registry import HOOKS
from dynnet.utils.errors import ConfigError


@HOOKS.register_module()
class RequireDeviceHook(Hook):
    """Refuse to train on a CPU, in one line instead of an error in the first iteration.

    Args:
        reason: What needs a GPU; begins the message.

    Example:
        >>> custom_hooks = [
        ...     dict(type='dynnet.RequireDeviceHook', reason='CFA needs convex_iou')]
    """

    priority = 'HIGHEST'

    def __init__(self, reason: str) -> None:
        self.reason = reason

    def before_run(self, runner) -> None:
        """Look where the model is, before any iteration of a training or test."""
        device = next(runner.model.parameters()).device
        if device.type == 'cpu':
            raise ConfigError(
                f'{self.reason}, which mmcv has for GPUs only: this cannot run on a CPU'
            )
