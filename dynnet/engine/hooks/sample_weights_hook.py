"""Log the sample weights that L2W-DEN learns."""

from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner

from dynnet.registry import HOOKS


@HOOKS.register_module()
class LogSampleWeightsHook(Hook):
    """Log the weights' mean, minimum and maximum, and how meta samples are assigned.

    The names are ``weights/mean``, ``weights/min``, ``weights/max``,
    ``weights/mean_exit{k}`` and, when a meta step was due, ``meta_share/exit{k}``, the
    fraction of the meta samples assigned to each exit. They are of the last batch, of
    this process's part of it.

    Args:
        interval: Every how many iterations.
    """

    def __init__(self, interval: int = 10) -> None:
        self.interval = interval

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: dict | None = None,
        outputs: dict | None = None,
    ) -> None:
        """Log the last batch's weights.

        Args:
            runner: The runner of the training.
            batch_idx: Index of the batch in its epoch.
            data_batch: The batch; not used.
            outputs: What ``train_step`` logs; not used.
        """
        if not self.every_n_inner_iters(batch_idx, self.interval):
            return
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        record = getattr(model, 'weighting_record', None)
        if record is None:
            return
        weights = record.weights
        values = {
            'weights/mean': weights.mean(),
            'weights/min': weights.min(),
            'weights/max': weights.max(),
        }
        for k, mean in enumerate(weights.mean(0), start=1):
            values[f'weights/mean_exit{k}'] = mean
        if record.shares is not None:
            for k, share in enumerate(record.shares, start=1):
                values[f'meta_share/exit{k}'] = share
        for name, value in values.items():
            runner.message_hub.update_scalar(f'train/{name}', value.item())
