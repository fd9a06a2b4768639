"""Hooks."""

from .atomic_checkpoint_hook import AtomicCheckpointHook
from .broken_clips_hook import BrokenClipsHook
from .channels_last_hook import ChannelsLastHook
from .epoch_seed_hook import EpochSeedHook
from .exit_thresholds_hook import LoadExitThresholdsHook
from .l2w_hook import L2WHook
from .non_finite_loss_hook import NonFiniteLossHook
from .require_device_hook import RequireDeviceHook
from .sample_weights_hook import LogSampleWeightsHook
from .value_schedule_hook import ValueScheduleHook

__all__ = [
    'AtomicCheckpointHook',
    'BrokenClipsHook',
    'ChannelsLastHook',
    'EpochSeedHook',
    'L2WHook',
    'LoadExitThresholdsHook',
    'LogSampleWeightsHook',
    'NonFiniteLossHook',
    'RequireDeviceHook',
    'ValueScheduleHook',
]
