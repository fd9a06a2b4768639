"""What L2W-DEN needs to know of the training around it."""

from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner

from dynnet.models.data_parallel import OwnStepDataParallel
from dynnet.models.exits import quotas
from dynnet.models.weighting.checks import check_functional, check_optimizers
from dynnet.registry import HOOKS
from dynnet.utils.errors import ConfigError


@HOOKS.register_module()
class L2WHook(Hook):
    """Check an L2W-DEN training before it begins, and count its batches.

    ``meta_interval`` counts the batches within an epoch, from 0 in each (in an
    iteration-based loop: those of the training).

    Raises:
        ConfigError: The model is no ``L2WClassifier``; several processes without
            ``dynnet.OwnStepDataParallel``; a net or optimizers that the pseudo step
            cannot be taken with.
    """

    def before_train(self, runner: Runner) -> None:
        """Refuse what cannot work; warn of exits without meta samples.

        Args:
            runner: The runner of the training.
        """
        model = _unwrapped(runner)
        if not hasattr(model, 'batch_index'):
            raise ConfigError(
                f'L2WHook needs an L2WClassifier, not {type(model).__name__}'
            )
        if is_model_wrapper(runner.model) and not isinstance(
            runner.model, OwnStepDataParallel
        ):
            raise ConfigError(
                f'{type(runner.model).__name__} takes a plain training step: set '
                "model_wrapper_cfg=dict(type='dynnet.OwnStepDataParallel')"
            )
        check_functional(model)
        check_optimizers(runner.optim_wrapper)
        size = getattr(runner.train_dataloader, 'batch_size', None)
        if size:
            counts = quotas(model.shares, size // 2)
            without = [k for k, n in enumerate(counts[:-1], start=1) if n == 0]
            if without:
                runner.logger.warning(
                    f'half a batch is {size // 2} meta samples: the target shares '
                    f'{model.shares.tolist()} leave the exits {without} without any, '
                    'and they take no part in the meta loss'
                )

    def before_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict | None = None
    ) -> None:
        """Tell the model which batch of the epoch comes.

        Args:
            runner: The runner of the training.
            batch_idx: Index of the batch in its epoch.
            data_batch: The batch; not used.
        """
        _unwrapped(runner).batch_index = batch_idx


def _unwrapped(runner: Runner):
    model = runner.model
    return model.module if is_model_wrapper(model) else model
