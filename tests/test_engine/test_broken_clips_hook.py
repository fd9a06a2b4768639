from types import SimpleNamespace

import pytest
from mmengine.logging import MessageHub

from dynnet.engine.hooks import BrokenClipsHook


class Counting:
    """A dataset that found clips broken, as VideoListDataset tells it."""

    def __init__(self):
        self.names = []

    @property
    def num_broken(self):
        return len(self.names)

    def broken_clips(self):
        return self.names

    def __len__(self):
        return 10


@pytest.fixture
def runner():
    lines = []
    dataset = Counting()
    wrapped = SimpleNamespace(dataset=dataset)
    return SimpleNamespace(
        dataset=dataset,
        lines=lines,
        logger=SimpleNamespace(warning=lines.append),
        message_hub=MessageHub.get_instance('broken_clips'),
        train_dataloader=SimpleNamespace(dataset=wrapped),
        val_dataloader=SimpleNamespace(dataset=dataset),
        test_dataloader=SimpleNamespace(dataset=[1, 2]),
    )


def test_new_broken_clips_are_named_once(runner):
    hook = BrokenClipsHook(max_names=2)
    hook.after_train_epoch(runner)
    assert runner.lines == []
    runner.dataset.names = ['a.mp4', 'b.mp4']
    hook.after_train_epoch(runner)
    hook.after_train_epoch(runner)
    assert runner.lines == [
        '2 of 10 train clips could not be read and were skipped: a.mp4, b.mp4'
    ]
    assert runner.message_hub.get_info('broken_clips/train') == 2
    runner.dataset.names.append('c.mp4')
    hook.after_train_epoch(runner)
    assert runner.lines[-1].startswith('3 of 10') and runner.lines[-1].endswith(', ...')


def test_splits_are_told_apart_and_other_datasets_left_alone(runner):
    hook = BrokenClipsHook()
    runner.dataset.names = ['a.mp4']
    hook.after_val_epoch(runner)
    assert '1 of 10 val clips' in runner.lines[0]
    hook.after_test_epoch(runner)  # a list counts nothing
    assert len(runner.lines) == 1
