"""Whether gated blocks simulate or execute."""

from torch import nn

from dynnet.ops.sparse_conv import BACKENDS
from dynnet.utils.errors import ConfigError

MODES = ('simulate', 'execute')


class GatedBlock:
    """What every gated block has; put it before the block's own base.

    Attributes:
        mode (str): ``'simulate'`` (compute all, then mask) or ``'execute'`` (really
            skip).
        backend (str): Backend of the execution.
    """

    mode = 'simulate'
    backend = 'auto'


def set_execution(model: nn.Module, mode: str, backend: str = 'auto') -> int:
    """Set the test-time mode of all gated blocks of a model.

    Args:
        model: Any module.
        mode: ``'simulate'`` or ``'execute'``.
        backend: Backend of the execution: ``'auto'``, ``'cpp'``, ``'mkldnn'``,
            ``'torch'``, ``'mmcv'`` or ``'dense'``.

    Returns:
        Number of gated blocks.

    Raises:
        ConfigError: Unknown mode or backend.
    """
    if mode not in MODES:
        raise ConfigError(f"mode={mode!r}: choose 'simulate' or 'execute'")
    if backend not in ('auto', *BACKENDS):
        raise ConfigError(
            f'backend={backend!r}: choose from auto, {", ".join(BACKENDS)}'
        )
    blocks = [m for m in model.modules() if isinstance(m, GatedBlock)]
    for block in blocks:
        block.mode, block.backend = mode, backend
    return len(blocks)
