"""The entry point: a residual block that computes what its mask asks for."""

from torch import Tensor

from . import cpp, dense, mkldnn_rows, mmcv_masked, torch_rows
from .folded import FoldedBlock
from .problem import BackendUnavailableError, Problem, Rule
from .rules import density_rule

BACKENDS = {
    'cpp': cpp,
    'mkldnn': mkldnn_rows,
    'torch': torch_rows,
    'mmcv': mmcv_masked,
    'dense': dense,
}


def unavailable(backend: str, problem: Problem | None = None) -> str | None:
    """Say why a backend cannot run here, or cannot run one problem.

    Args:
        backend: ``'cpp'``, ``'mkldnn'``, ``'torch'``, ``'mmcv'`` or ``'dense'``.
        problem: The problem; None asks for the backend as such.

    Returns:
        The reason, or None when it can.

    Raises:
        ValueError: No such backend.
    """
    if backend not in BACKENDS:
        names = ', '.join(('auto', *BACKENDS))
        raise ValueError(f'no backend {backend!r}: choose from {names}')
    module = BACKENDS[backend]
    ask = getattr(module, 'unavailable', None)  # dense and torch always run
    return ask(problem) if ask else None


def sparse_block(
    x: Tensor,
    mask: Tensor,
    block: FoldedBlock,
    backend: str = 'auto',
    *,
    inplace: bool = False,
    rule: Rule = density_rule,
    workspace: int = 64 << 20,
) -> Tensor:
    """Compute ``relu(shortcut(x) + mask * branch(x))``, the branch only where active.

    The last convolutions run at the mask's active positions, the first one at the
    positions that these read (LASNet, section 3; all backends equal the masked
    dense form). Masks differ freely between the images of a batch; none or all of their
    positions may be active.

    Args:
        x: (B, C, Hi, Wi), floating, of the folded weights' type. Channels-last memory
            is used as it is, other memory is copied.
        mask: (B, h, w) or (B, 1, h, w), boolean or 0/1: the output map's size, or
            coarser (then upsampled by nearest neighbours).
        block: The folded block, from :class:`FoldedBlockCache` or :func:`fold_block`.
        backend: ``'cpp'`` (CPU, float32, no gradient), ``'mkldnn'`` (the same, through
            private torch operators), ``'torch'`` (any device and type, differentiable),
            ``'mmcv'`` (CUDA, one image, stride 1), ``'dense'`` (the reference) or
            ``'auto'``: what ``rule`` says.
        inplace: Whether ``x`` may be overwritten; it then must come from a ReLU, as
            every block's input does. Only for a tensor that nobody else keeps: without
            a projection, only active rows are written then.
        rule: Names a backend for a problem when ``backend`` is ``'auto'``.
        workspace: Bytes that the gathered rows of one step may take (``torch``,
            ``mkldnn``).

    Returns:
        (B, O, H, W) in channels-last memory.

    Raises:
        TypeError: Types or devices of ``x``, mask and weights do not agree.
        ValueError: Shapes do not fit, or the backend does not exist.
        BackendUnavailableError: The backend cannot run this problem here; the message
            says why.
    """
    problem = Problem(x, mask, block, inplace, workspace)
    name = rule(problem) if backend == 'auto' else backend
    if reason := unavailable(name, problem):
        raise BackendUnavailableError(f'backend {name!r} cannot run this: {reason}')
    if problem.batch == 0:
        name = 'dense'
    return BACKENDS[name].run(problem)
