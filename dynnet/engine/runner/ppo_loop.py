"""Train a policy with several PPO updates on each batch."""

from collections.abc import Sequence

from mmengine.model import is_model_wrapper
from mmengine.runner import EpochBasedTrainLoop

from dynnet.registry import LOOPS
from dynnet.utils.errors import ConfigError


@LOOPS.register_module()
class PPOTrainLoop(EpochBasedTrainLoop):
    """Act once on each batch, then update the policy K times on what was seen.

    With K = 1 a model's ``loss()`` is enough (and works under data parallelism); this
    loop is for K > 1, where the later updates' probability ratios differ from 1 and
    the clip takes hold. One process only.

    Args:
        *args: mmengine's ``EpochBasedTrainLoop``'s.
        num_updates: K.
        **kwargs: mmengine's ``EpochBasedTrainLoop``'s.

    Raises:
        ConfigError: ``num_updates`` below 1, a model without ``act``, or one that is
            wrapped for data parallelism.
    """

    def __init__(self, *args, num_updates: int = 1, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        if num_updates < 1:
            raise ConfigError(f'train_cfg.num_updates={num_updates} must be at least 1')
        if is_model_wrapper(self.runner.model):
            raise ConfigError(
                'dynnet.PPOTrainLoop runs in one process: under data parallelism use '
                "mmengine's loop, which updates once per batch"
            )
        if not hasattr(self.runner.model, 'act'):
            raise ConfigError(
                'dynnet.PPOTrainLoop needs a model that learns a policy such as '
                f'dynnet.AdaFocus, not {type(self.runner.model).__name__}'
            )
        self.num_updates = num_updates

    def run_iter(self, idx: int, data_batch: Sequence[dict]) -> None:
        """Act on one batch, update K times; the last update's losses are logged.

        Args:
            idx: Index of the batch in the epoch.
            data_batch: What the loader gave.
        """
        runner = self.runner
        model, optim_wrapper = runner.model, runner.optim_wrapper
        runner.call_hook('before_train_iter', batch_idx=idx, data_batch=data_batch)
        with optim_wrapper.optim_context(model):
            data = model.data_preprocessor(data_batch, True)
            rollout = model.act(**data)
        for _ in range(self.num_updates):
            with optim_wrapper.optim_context(model):
                losses = model.policy_losses(rollout)
            loss, outputs = model.parse_losses(losses)
            optim_wrapper.update_params(loss)
        runner.call_hook(
            'after_train_iter', batch_idx=idx, data_batch=data_batch, outputs=outputs
        )
        self._iter += 1
