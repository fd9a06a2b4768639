"""mmcv's masked convolution, which exists for CUDA only.

Its limits are this backend's: one image, stride 1, no dilation, no groups, a mask of
the map's size. The first convolution runs on the whole map.
"""

import torch
from torch import Tensor

from dynnet.utils.optional import is_available

from .folded import FoldedConv
from .problem import Problem


def unavailable(problem: Problem | None = None) -> str | None:
    """Return why the backend cannot run (this problem), or None."""
    if not is_available('mmcv.ops'):
        return "mmcv's compiled ops are not installed"
    if problem is None:
        return None if torch.cuda.is_available() else 'CUDA only, and there is none'
    if problem.x.device.type != 'cuda':
        return f"mmcv's masked convolution runs on CUDA, not on {problem.x.device}"
    if problem.batch != 1:
        return f"mmcv's masked convolution takes one image, not {problem.batch}"
    for conv in problem.block.convs[1:]:
        if (conv.stride, conv.dilation, conv.groups) != (1, 1, 1):
            return "mmcv's masked convolution has no stride, dilation or groups"
    if problem.wants_grad:
        return "mmcv's masked convolution has no gradient"
    return None


def _masked(y: Tensor, conv: FoldedConv, mask: Tensor) -> Tensor:
    from mmcv.ops.masked_conv import masked_conv2d

    return masked_conv2d(
        y.contiguous(), mask, conv.weight.contiguous(), conv.bias, conv.padding
    )


def run(problem: Problem) -> Tensor:
    """Run a problem on mmcv's masked convolutions."""
    block, x = problem.block, problem.x
    mask = problem.mask.to(x.dtype)
    y = block.convs[0].dense(x).relu_()
    if len(block.convs) == 3:
        # The 3x3 convolution's zeros where nothing is active are not read again.
        y = _masked(y, block.convs[1], mask).relu_()
    y = _masked(y, block.convs[-1], mask)
    return (
        y.add_(block.identity(x)).relu_().contiguous(memory_format=torch.channels_last)
    )
