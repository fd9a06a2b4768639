"""What the latency model knows of a CPU, and of the backends that run on it."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields

from dynnet.utils.errors import ConfigError

from .profile import _not_negative, _positive, build, check_fields


@dataclass(frozen=True)
class BackendProfile:
    """The fitted constants of one way to run blocks.

    Attributes:
        pointwise_cost: Time of a multiply-accumulate of a 1 x 1 product, in units of
            the processor's peak.
        window_cost: The same of a 3 x 3 product.
        weight_cost: How often the weights are moved.
        traffic_cost: Time of the maps' traffic, in units of a plain copy.
        position_s: Seconds of bookkeeping per position of the masks.
        tap_s: Seconds of bookkeeping per input row of a 3 x 3 window.
        call_s: Seconds of a call, whatever its size.
    """

    pointwise_cost: float = _not_negative(float)
    window_cost: float = _not_negative(float)
    weight_cost: float = _not_negative(float)
    traffic_cost: float = _not_negative(float)
    position_s: float = _not_negative(float, default=0.0)
    tap_s: float = _not_negative(float, default=0.0)
    call_s: float = _not_negative(float, default=0.0)

    def __post_init__(self) -> None:
        check_fields(self, 'backend')


CONSTANTS = tuple(entry.name for entry in fields(BackendProfile))


@dataclass(frozen=True)
class CPUProfile:
    """A CPU, measured by ``tools/analysis_tools/calibrate_latency.py``.

    Attributes:
        name: What the processor is called.
        cores: Cores.
        simd_lanes: float32 lanes of a vector register.
        frequency_hz: Clock.
        flops_per_cycle: float32 operations per cycle of a core that a large product
            reaches.
        l1_bytes: First-level data cache of a core.
        l2_bytes: Second-level cache of a core.
        l3_bytes: Last-level cache.
        l2_bandwidth: Bytes/s of a copy that stays in the second level; read and written
            bytes both count.
        l3_bandwidth: The same in the last level.
        bandwidth: The same in main memory.
        read_bandwidth: Bytes/s at which a product reads a matrix from main memory.
        dispatch_s: Seconds of an operator that does nothing.
        thread_launch_s: Seconds to start the threads of an operator.
        backends: Name to :class:`BackendProfile`; ``'dense'``, ``'gate'`` and
            ``'layer'`` must be there.
        threads: Threads that it was measured with, and holds for.
        batch_size: Pictures that run together.
        mode: How compute and memory make up the time.
        source: Where the numbers come from.
        calibration: Date, versions, number of timings, errors of the fit.
    """

    name: str
    cores: int = _positive(int)
    simd_lanes: int = _positive(int)
    frequency_hz: float = _positive(float)
    flops_per_cycle: float = _positive(float)
    l1_bytes: int = _positive(int)
    l2_bytes: int = _positive(int)
    l3_bytes: int = _positive(int)
    l2_bandwidth: float = _positive(float)
    l3_bandwidth: float = _positive(float)
    bandwidth: float = _positive(float)
    read_bandwidth: float = _positive(float)
    dispatch_s: float = _not_negative(float)
    thread_launch_s: float = _not_negative(float)
    backends: Mapping[str, BackendProfile] = field(default_factory=dict)
    threads: int = _positive(int, default=1)
    batch_size: int = _positive(int, default=1)
    mode: str = field(default='add', metadata=dict(choices=('add', 'max')))
    source: str = ''
    calibration: Mapping = field(default_factory=dict)
    kind = 'cpu'

    def __post_init__(self) -> None:
        where = f'profile {self.name!r}'
        check_fields(self, where)
        if not isinstance(self.backends, Mapping):
            raise ConfigError(f'{where}: backends must be an object')
        built = {
            name: value
            if isinstance(value, BackendProfile)
            else build(BackendProfile, value, f'{where}: backends.{name}')
            for name, value in self.backends.items()
        }
        object.__setattr__(self, 'backends', built)
        if missing := sorted({'dense', 'gate', 'layer'} - set(built)):
            raise ConfigError(f'{where}: missing field backends.{missing[0]}')

    @property
    def peak(self) -> float:
        """float32 operations per second that a large product reaches."""
        return self.flops_per_cycle * self.frequency_hz * self.threads

    def copy_bandwidth(self, working_set: float) -> float:
        """Bytes/s of a copy whose data are so many bytes in all."""
        if working_set <= self.l2_bytes:
            return self.l2_bandwidth
        # The last level is shared, and does not hold all that was just written.
        if working_set <= self.l3_bytes / 2:
            return min(self.l2_bandwidth, self.l3_bandwidth)
        return min(self.l2_bandwidth, self.l3_bandwidth, self.bandwidth)
