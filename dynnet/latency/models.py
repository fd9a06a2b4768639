"""The latency model of a profile."""

import os
from typing import Any

from .cpu_model import CPULatencyModel
from .cpu_profile import CPUProfile
from .estimate import LatencyModel
from .gpu_model import GPULatencyModel
from .profile import load_profile


def build_model(
    device: Any, batch: int | None = None, tile_at: str | None = None
) -> LatencyModel:
    """Build the latency model of a device.

    Args:
        device: A profile, the path of one, or the name of a device of the package.
        batch: Pictures that run together; None takes the profile's.
        tile_at: See :class:`~dynnet.latency.profile.GPUProfile`; ignored on a CPU.

    Raises:
        ConfigError: The profile cannot be read.
    """
    profile = load_profile(device) if isinstance(device, (str, os.PathLike)) else device
    if isinstance(profile, CPUProfile):
        return CPULatencyModel(profile, batch)
    return GPULatencyModel(profile, batch, tile_at)
