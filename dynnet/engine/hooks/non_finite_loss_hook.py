"""Stop a training that went to NaN while its last checkpoint is still good."""

import torch
from mmengine.dist import all_reduce, is_distributed
from mmengine.hooks import Hook
from mmengine.runner import Runner, find_latest_checkpoint

from dynnet.registry import HOOKS
from dynnet.utils.errors import NonFiniteLossError


def non_finite(values: dict) -> list[str]:
    """Name the tensors and numbers of ``values`` that are not finite everywhere.

    Args:
        values: Names with tensors, numbers or anything else, which is passed over.

    Returns:
        The names, in order.
    """
    names, finite = [], []
    for name, value in values.items():
        if isinstance(value, float):
            value = torch.tensor(value)
        if torch.is_tensor(value) and (value.is_floating_point() or value.is_complex()):
            names.append(name)
            finite.append(value.detach().isfinite().all())
    if not finite or torch.stack([flag.to(finite[0].device) for flag in finite]).all():
        return []  # one comparison, thus one wait for the device, when all is well
    return [name for name, flag in zip(names, finite, strict=True) if not flag]


@HOOKS.register_module()
class NonFiniteLossHook(Hook):
    """Stop at the first loss that is NaN or infinite, on all ranks.

    It looks at every entry of the training step whose name contains ``loss``, at every
    iteration, before anything can be saved. Weights that an exploding step made
    non-finite behind a finite loss are refused when they are about to be saved.

    Raises:
        NonFiniteLossError: With epoch, iteration, the names of the bad entries and the
            last good checkpoint.

    Example:
        >>> custom_hooks = [dict(type='dynnet.NonFiniteLossHook')]
    """

    priority = 'VERY_HIGH'

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: dict | tuple | list | None = None,
        outputs: dict | None = None,
    ) -> None:
        """Check the losses of one iteration.

        Args:
            runner: The runner of the training.
            batch_idx: Index of the batch in its epoch.
            data_batch: The batch; not used.
            outputs: What ``train_step`` logs, by name.
        """
        losses = {k: v for k, v in (outputs or {}).items() if 'loss' in k}
        bad = [f'{name} = {losses[name]:g}' for name in non_finite(losses)]
        if self._any_rank(bool(bad)):
            what = ', '.join(bad) or 'a loss on another rank'
            raise NonFiniteLossError(
                f'training stopped in epoch {runner.epoch + 1}, iteration '
                f'{runner.iter + 1}: {what}; {_last_good(runner)}'
            )

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Refuse to save weights that are not finite.

        Args:
            runner: The runner of the training.
            checkpoint: What is about to be saved.
        """
        # Parameters only: a buffer may hold infinity on purpose, as thresholds do.
        bad = non_finite(dict(runner.model.named_parameters()))
        if bad:
            more = f' and {len(bad) - 3} more' if len(bad) > 3 else ''
            raise NonFiniteLossError(
                f'training stopped in epoch {runner.epoch + 1}, iteration '
                f'{runner.iter}: NaN or infinity in the weights {", ".join(bad[:3])}'
                f'{more}; {_last_good(runner)}'
            )

    @staticmethod
    def _any_rank(bad: bool) -> bool:
        """Ask all ranks, so that none saves what the others' gradients spoiled."""
        if not is_distributed():
            return bad
        flag = torch.tensor(float(bad))
        all_reduce(flag, op='max')
        return bool(flag)


def _last_good(runner: Runner) -> str:
    # Not the message hub's `last_ckpt`: that one is set before the file is written.
    path = find_latest_checkpoint(runner.work_dir)
    return f'the last good checkpoint is {path}' if path else 'no checkpoint was saved'
