"""Change an attribute of the model over training: a temperature, a weight, a target."""

from collections.abc import Sequence

from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from torch import nn

from dynnet.engine.schedules import scheduled_value
from dynnet.registry import HOOKS


def find_targets(model: nn.Module, targets: Sequence[str]) -> list[tuple]:
    """Find attributes by their paths.

    Args:
        model: Where the paths begin.
        targets: Paths such as ``'head.loss_cam.loss_weight'``. A first part ``'*'``
            means every submodule (the model too) that has the attribute, so that
            ``'*.tau'`` is the temperature of all gates.

    Returns:
        Pairs of the object and the attribute's name.

    Raises:
        AttributeError: A path that leads nowhere; the message names it.
    """
    found = []
    for target in targets:
        *path, name = target.split('.')
        if path == ['*']:
            holders = [m for m in model.modules() if hasattr(m, name)]
        else:
            holders = [_follow(model, path)]
        holders = [holder for holder in holders if hasattr(holder, name)]
        if not holders:
            raise AttributeError(
                f'{type(model).__name__} has no attribute {target!r} to schedule'
            )
        found += [(holder, name) for holder in holders]
    return found


def _follow(model: nn.Module, path: Sequence[str]) -> object:
    holder = model
    for part in path:
        if isinstance(holder, (list, tuple, nn.ModuleList, nn.Sequential)):
            if not part.isdigit() or int(part) >= len(holder):
                return None
            holder = holder[int(part)]
        else:
            holder = getattr(holder, part, None)
    return holder


@HOOKS.register_module()
class ValueScheduleHook(Hook):
    """Set attributes of the model before every iteration (or epoch) by a rule.

    The value follows from the iteration alone, so that a resumed run goes on where the
    interrupted one was. It is logged as ``schedule/<name>``.

    Args:
        targets: Path or paths, see :func:`find_targets`.
        values: First and last value.
        rule: ``'constant'``, ``'linear'``, ``'cosine'``, ``'exp'`` or ``'step'``.
        begin: Where the schedule begins, in epochs or iterations.
        end: Where it ends; None means the end of training.
        by_epoch: Whether ``begin`` and ``end`` count epochs.
        per_iter: Whether the value moves inside an epoch where epochs are counted.
        name: Name in the log; None means the last part of the first path.
        **options: The rule's settings (``milestones``: parts of the way, 0 to 1).

    Raises:
        AttributeError: Before training, for a path that leads nowhere.
        ValueError: Before training, for an unknown rule or impossible settings.

    Example:
        >>> custom_hooks = [
        ...     dict(
        ...         type='dynnet.ValueScheduleHook',
        ...         targets='*.tau',
        ...         values=(5.0, 0.1),
        ...         rule='exp',
        ...     )
        ... ]
    """

    priority = 'NORMAL'

    def __init__(
        self,
        targets: str | Sequence[str],
        values: tuple[float, float],
        rule: str = 'linear',
        begin: float = 0,
        end: float | None = None,
        by_epoch: bool = True,
        per_iter: bool = True,
        name: str | None = None,
        **options,
    ) -> None:
        self.targets = [targets] if isinstance(targets, str) else list(targets)
        if len(values) != 2:
            raise ValueError(f'values takes the first and the last one, got {values}')
        self.values = tuple(values)
        self.rule = rule
        self.begin, self.end = begin, end
        self.by_epoch, self.per_iter = by_epoch, per_iter
        self.name = name or self.targets[0].rsplit('.', 1)[-1]
        self.options = options
        scheduled_value(rule, 0, 0, 1, self.values, **options)  # refuse bad ones now

    def value_at(self, runner: Runner) -> float:
        """Tell the value for the runner's present iteration."""
        loop = runner.train_loop
        if self.by_epoch:
            length = len(loop.dataloader)
            now = runner.iter / length if self.per_iter else runner.iter // length
            last = loop.max_iters / length
        else:
            now, last = runner.iter, loop.max_iters
        end = last if self.end is None else self.end
        return scheduled_value(
            self.rule, now, self.begin, end, self.values, **self.options
        )

    def before_train(self, runner: Runner) -> None:
        """Find the targets and set the first value."""
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        self._found = find_targets(model, self.targets)
        self._set(runner)

    def before_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: dict | tuple | list | None = None,
    ) -> None:
        """Set the value of this iteration."""
        self._set(runner)

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: dict | tuple | list | None = None,
        outputs: dict | None = None,
    ) -> None:
        """Log the value that the iteration used."""
        runner.message_hub.update_scalar(f'train/schedule/{self.name}', self._value)

    def _set(self, runner: Runner) -> None:
        self._value = self.value_at(runner)
        for holder, name in self._found:
            setattr(holder, name, self._value)
