"""Randomness that a resumed run repeats."""

import random
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.runner import Runner

from dynnet.registry import HOOKS
from dynnet.utils.errors import ConfigError

MAIN_PROCESS = -1


def seed_everything(seed: int, epoch: int, iteration: int, rank: int, worker: int):
    """Seed python, numpy and torch from where the training stands.

    Args:
        seed: Seed of the run.
        epoch: Epochs done.
        iteration: Iterations done.
        rank: Rank of the process that trains.
        worker: Index of its loader worker, :data:`MAIN_PROCESS` for itself.
    """
    entropy = (seed, epoch, iteration, rank, worker + 1)
    states = np.random.SeedSequence(entropy).generate_state(3)
    random.seed(int(states[0]))
    np.random.seed(int(states[1]))
    torch.manual_seed(int(states[2]))


def init_worker(
    worker: int, before: Callable[[int], None] | None, place: tuple[int, int, int, int]
) -> None:
    """Start a loader worker: its own ``worker_init_fn``, then its seed.

    Args:
        worker: Index of the worker.
        before: The ``worker_init_fn`` that the config asked for.
        place: Seed, epoch, iteration and rank, as in :func:`seed_everything`.
    """
    if before is not None:
        before(worker)
    seed_everything(*place, worker)


@HOOKS.register_module()
class EpochSeedHook(Hook):
    """Draw all randomness of an epoch from (seed, epoch, rank, worker).

    Augmentation, dropout and gates of an epoch then do not depend on what was drawn
    before it, so that a run resumed at an epoch's end equals an uninterrupted one. An
    iteration-based run draws anew where it starts and where it resumes.

    Note:
        The order of the samples comes from the sampler's own seed: fix the seed
        (``randomness = dict(seed=...)``) if a resumed run has to repeat it.

    Raises:
        ConfigError: The train loader keeps its workers (``persistent_workers=True``):
            they would draw on from the epoch before.

    Example:
        >>> custom_hooks = [dict(type='dynnet.EpochSeedHook')]
    """

    priority = 'VERY_HIGH'

    def before_train(self, runner: Runner) -> None:
        """Check the loader and remember its ``worker_init_fn``."""
        loader = runner.train_dataloader
        if getattr(loader, 'persistent_workers', False):
            raise ConfigError(
                'dynnet.EpochSeedHook needs train_dataloader.persistent_workers=False: '
                'workers that live on cannot be seeded at each epoch'
            )
        self._worker_init_fn = loader.worker_init_fn

    def before_train_epoch(self, runner: Runner) -> None:
        """Seed this process, and the workers that the epoch is about to start."""
        place = (runner.seed, runner.epoch, runner.iter, get_rank())
        seed_everything(*place, MAIN_PROCESS)
        runner.train_dataloader.worker_init_fn = partial(
            init_worker, before=self._worker_init_fn, place=place
        )
