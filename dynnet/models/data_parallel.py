"""Several processes for models that have a training step of their own."""

from typing import Any

from mmengine.model import MMDistributedDataParallel
from mmengine.optim import OptimWrapper

from dynnet.registry import MODEL_WRAPPERS


@MODEL_WRAPPERS.register_module()
class OwnStepDataParallel(MMDistributedDataParallel):
    """Start all processes with the same weights and let the model take its steps.

    :class:`mmengine.model.MMDistributedDataParallel` makes one forward and one update
    of a batch and averages gradients by itself. Here the model's own ``train_step`` is
    called, which has to average what it steps on.
    """

    def train_step(self, data: Any, optim_wrapper: OptimWrapper) -> dict:
        """Call the model's ``train_step``.

        Args:
            data: A batch.
            optim_wrapper: The optimizers.

        Returns:
            What the model logs.
        """
        return self.module.train_step(data, optim_wrapper)
