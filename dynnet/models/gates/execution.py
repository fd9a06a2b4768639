"""Whether gated blocks simulate or execute."""

from torch import nn

from dynnet.ops.sparse_conv import BACKENDS, Rule
from dynnet.utils.errors import ConfigError

MODES = ('simulate', 'execute')


class GatedBlock:
    """What every gated block has; put it before the block's own base.

    Attributes:
        mode (str): ``'simulate'`` (compute all, then mask) or ``'execute'`` (really
            skip).
        backend (str): Backend of the execution.
        rule: Names the backend when it is ``'auto'``; None: by density.
        fused_gate (bool): Whether an executing gate is one C++ pass.
    """

    mode = 'simulate'
    backend = 'auto'
    rule: Rule | None = None
    fused_gate = False


def set_execution(
    model: nn.Module,
    mode: str,
    backend: str = 'auto',
    rule: Rule | None = None,
    fused_gates: bool = False,
) -> int:
    """Set the test-time mode of all gated blocks of a model.

    Args:
        model: Any module.
        mode: ``'simulate'`` or ``'execute'``.
        backend: Backend of the execution: ``'auto'``, ``'cpp'``, ``'mkldnn'``,
            ``'torch'``, ``'mmcv'`` or ``'dense'``.
        rule: What ``'auto'`` asks for every block, such as a
            :class:`dynnet.latency.rule.ProfileRule`; None: the rule by density.
        fused_gates: Whether gates that execute run as one C++ pass, where there is the
            kernel (a CPU, float32). It sums in another order: a decision may differ
            from ``'simulate'`` where the two logits are within about 1e-5.

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
        block.mode, block.backend, block.rule = mode, backend, rule
        block.fused_gate = fused_gates
    return len(blocks)
