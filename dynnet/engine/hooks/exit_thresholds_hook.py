"""Pick up exit thresholds that a checkpoint carries."""

from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner

from dynnet.models.exits import ExitThresholds
from dynnet.registry import HOOKS


@HOOKS.register_module()
class LoadExitThresholdsHook(Hook):
    """Give the model the thresholds in the checkpoint's ``meta['exit_thresholds']``.

    They come from ``tools/model_converters/embed_thresholds.py``. Thresholds that the
    config gives win. Training does not use them: they were solved for other weights
    than it ends with.

    Args:
        budget: Mean cost per sample, in the thresholds' unit, which picks the
            operating point; not needed where there is only one.
    """

    def __init__(self, budget: float | None = None) -> None:
        self.budget = budget
        self._loaded = False

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Set the thresholds.

        Args:
            runner: The runner.
            checkpoint: What was loaded.

        Raises:
            ValueError: They do not fit the model, or the budget is out of reach.
        """
        data = (checkpoint.get('meta') or {}).get('exit_thresholds')
        model = _unwrapped(runner)
        if data is None or not hasattr(model, 'set_thresholds'):
            return
        if model.thresholds is not None:
            runner.logger.info("The config's exit thresholds win over the checkpoint's")
            return
        source = "the checkpoint's meta['exit_thresholds']"
        thresholds = ExitThresholds.from_dict(data, source=source)
        if self.budget is None and len(thresholds.points) > 1:
            costs = [point.expected_cost for point in thresholds.points]
            runner.logger.info(
                f'The checkpoint has {len(costs)} operating points of {min(costs):g} '
                f'to {max(costs):g} {thresholds.cost_unit}: set the budget of '
                'LoadExitThresholdsHook to use one'
            )
            return
        model.set_thresholds(thresholds, self.budget)
        self._loaded = True

    def before_train(self, runner: Runner) -> None:
        """Drop thresholds of weights that are about to change.

        Args:
            runner: The runner.
        """
        if self._loaded:
            _unwrapped(runner).set_thresholds(None)
            self._loaded = False


def _unwrapped(runner: Runner):
    model = runner.model
    return model.module if is_model_wrapper(model) else model
