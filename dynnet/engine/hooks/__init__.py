"""Hooks."""

from .atomic_checkpoint_hook import AtomicCheckpointHook
from .epoch_seed_hook import EpochSeedHook
from .exit_thresholds_hook import LoadExitThresholdsHook
from .non_finite_loss_hook import NonFiniteLossHook
from .value_schedule_hook import ValueScheduleHook

__all__ = [
    'AtomicCheckpointHook',
    'EpochSeedHook',
    'LoadExitThresholdsHook',
    'NonFiniteLossHook',
    'ValueScheduleHook',
]
