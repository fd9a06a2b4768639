"""Pick a backend for every block by its predicted time."""

import os

from dynnet.ops.sparse_conv import Problem, density_rule, unavailable
from dynnet.utils.errors import ConfigError

from .cpu_model import CPULatencyModel
from .cpu_profile import CPUProfile
from .density import Density
from .dilation import DilationCurve
from .network import BlockSpec
from .profile import load_profile


class ProfileRule:
    """What ``backend='auto'`` asks: the backend that a profile predicts to be fastest.

    The density is the mask's; the first convolution's share comes from the curve of
    dilated shares, which costs less than dilating the mask. Blocks that the profile
    does not speak of (on a GPU, or not bottlenecks) follow the rule without a profile.

    Args:
        profile: A calibrated CPU.
        curve: Dilated share of an active one.
    """

    def __init__(self, profile: CPUProfile, curve: DilationCurve | None = None) -> None:
        self.profile = profile
        self.curve = curve or DilationCurve('blob')

    @classmethod
    def load(cls, path: str | os.PathLike) -> 'ProfileRule':
        """Read a calibrated CPU's profile.

        Args:
            path: JSON file that ``tools/analysis_tools/calibrate_latency.py`` wrote.

        Raises:
            ConfigError: No profile, or that of a GPU.
        """
        profile = load_profile(path)
        if not isinstance(profile, CPUProfile):
            raise ConfigError(
                f'{os.fspath(path)}: only the profile of a calibrated CPU chooses '
                f'backends, this one has kind={profile.kind!r}'
            )
        return cls(profile)

    def __call__(self, problem: Problem) -> str:
        """Name the backend for a problem."""
        folded = problem.block
        if problem.x.device.type != 'cpu' or len(folded.convs) != 3:
            return density_rule(problem)
        model = CPULatencyModel(self.profile, max(1, problem.batch))
        backends = [b for b in model.backends if unavailable(b, problem) is None]
        if not backends:
            return density_rule(problem)
        block = self._describe(problem)
        active = problem.density
        density = Density(active, self.curve(block, active))

        def seconds(backend: str) -> float:
            costs = model.ungated(block, density, backend)
            return sum(cost.latency for _, cost in costs)

        return min(backends, key=seconds)

    @staticmethod
    def _describe(problem: Problem) -> BlockSpec:
        first, second, last = problem.block.convs
        return BlockSpec(
            'block',
            0,
            first.in_channels,
            second.out_channels,
            last.out_channels,
            problem.out_size,
            problem.block.stride,
            problem.block.groups,
            problem.block.shortcut is not None,
            granularity=max(1, problem.out_size[0] // problem.coarse.shape[1]),
        )
