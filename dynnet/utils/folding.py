"""Folding batch normalisation into the convolution before it, with a safe cache."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

WeightAndBias = tuple[Tensor, Tensor]


def fold_conv_bn(conv: nn.Conv2d, bn: _BatchNorm) -> WeightAndBias:
    """Return the weight and bias of one convolution equal to ``bn(conv(x))``.

    Args:
        conv: A convolution with weight (O, I / groups, kH, kW).
        bn: A batch normalisation over O channels with running statistics.

    Returns:
        Weight of the convolution's shape and bias (O,), detached.

    Raises:
        ValueError: ``bn`` keeps no running statistics.
    """
    if bn.running_mean is None:
        raise ValueError('only a BN with running statistics can be folded')
    scale = torch.rsqrt(bn.running_var + bn.eps)
    if bn.weight is not None:
        scale = scale * bn.weight
    shift = -bn.running_mean * scale
    if bn.bias is not None:
        shift = shift + bn.bias
    if conv.bias is not None:
        shift = shift + conv.bias * scale
    return (conv.weight * scale.view(-1, 1, 1, 1)).detach(), shift.detach()


def can_fold(module: nn.Module, x: Tensor) -> bool:
    """Whether an inference-only path may replace ``module``'s plain forward.

    It may not while gradients or autocast are on (the folded weights are detached
    and keep their dtype), nor while a graph is traced or exported: the plain
    forward is the portable one.
    """
    return not (
        module.training
        or torch.is_grad_enabled()
        or x.is_meta  # shapes only; there is no autocast to ask about
        or torch.is_autocast_enabled(x.device.type)
        or torch.compiler.is_compiling()
        or torch.jit.is_tracing()
    )


class FoldCache:
    """Folded weights of one (convolution, BN) pair, rebuilt when a source changes.

    A change is seen by the identity and the version counter of every source tensor.
    Two kinds of writes leave the counter alone, therefore the owner also calls
    :meth:`clear`: through ``tensor.data`` (an EMA hook swaps weights so), hence when
    its mode is set, as every evaluation begins with ``model.eval()``; and by a fused
    optimizer, hence when it runs with gradients on.

    Copies and pickles start empty: version counters do not travel.
    """

    __slots__ = ('_sources', '_versions', '_value')

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Forget the folded weights."""
        self._sources: tuple[Tensor | None, ...] = (None,) * 6
        self._versions = -1
        self._value: tuple[Tensor, ...] | None = None

    def get(
        self,
        conv: nn.Conv2d,
        bn: _BatchNorm,
        prepare: Callable[[WeightAndBias], tuple[Tensor, ...]] | None = None,
    ) -> tuple[Tensor, ...]:
        """Return the folded pair, as ``prepare`` laid it out when it was built."""
        # Runs before every convolution of a net: plain code, not loops.
        c, b, s = conv._parameters, bn._parameters, bn._buffers
        try:
            w, wb, g, gb = c['weight'], c['bias'], b['weight'], b['bias']
            mean, var = s['running_mean'], s['running_var']
            versions = w._version + mean._version + var._version
            if wb is not None:
                versions += wb._version
            if g is not None:
                versions += g._version + gb._version
        except (KeyError, RuntimeError):
            # A parametrised or pruned weight is computed anew each time; inference
            # tensors count no versions. Never reuse.
            value = fold_conv_bn(conv, bn)
            return prepare(value) if prepare else value
        known = self._sources
        if (
            versions != self._versions
            or known[0] is not w
            or known[1] is not wb
            or known[2] is not g
            or known[3] is not gb
            or known[4] is not mean
            or known[5] is not var
        ):
            value = fold_conv_bn(conv, bn)
            self._value = prepare(value) if prepare else value
            self._sources, self._versions = (w, wb, g, gb, mean, var), versions
        return self._value

    def __deepcopy__(self, memo: dict) -> 'FoldCache':
        return FoldCache()

    def __reduce__(self) -> tuple:
        return FoldCache, ()
