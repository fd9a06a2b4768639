"""Say how many clips could not be read."""

from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch.utils.data import DataLoader

from dynnet.registry import HOOKS


@HOOKS.register_module()
class BrokenClipsHook(Hook):
    """Log the clips that were skipped, after every epoch that found new ones.

    For datasets that count them, such as
    :class:`~dynnet.datasets.video_datasets.VideoListDataset`; others are left alone.
    The number goes into the message hub too, as ``broken_clips/train`` and so on.

    Args:
        max_names: How many paths are named.

    Example:
        >>> custom_hooks = [dict(type='dynnet.BrokenClipsHook')]
    """

    priority = 'LOW'

    def __init__(self, max_names: int = 5) -> None:
        self.max_names = max_names
        self._known: dict[str, int] = {}

    def after_train_epoch(self, runner: Runner) -> None:
        """Look at the training clips."""
        self._report(runner, 'train', runner.train_dataloader)

    def after_val_epoch(self, runner: Runner, metrics: dict | None = None) -> None:
        """Look at the validation clips."""
        self._report(runner, 'val', runner.val_dataloader)

    def after_test_epoch(self, runner: Runner, metrics: dict | None = None) -> None:
        """Look at the test clips."""
        self._report(runner, 'test', runner.test_dataloader)

    def _report(self, runner: Runner, split: str, loader: DataLoader) -> None:
        dataset = loader.dataset
        while not hasattr(dataset, 'num_broken') and hasattr(dataset, 'dataset'):
            dataset = dataset.dataset
        number = getattr(dataset, 'num_broken', 0)
        if number <= self._known.get(split, 0):
            return
        self._known[split] = number
        runner.message_hub.update_info(f'broken_clips/{split}', number)
        names = dataset.broken_clips()
        more = '' if number <= self.max_names else ', ...'
        runner.logger.warning(
            f'{number} of {len(dataset)} {split} clips could not be read and were '
            f'skipped: {", ".join(names[: self.max_names])}{more}'
        )
