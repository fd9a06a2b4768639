"""Swapping convolutions of any model for adaptive rotated ones."""

from collections.abc import Sequence
from fnmatch import fnmatchcase

import torch
from torch import nn

from dynnet.utils.errors import ConfigError

from .adaptive_rotated_conv import AdaptiveRotatedConv2d


def convert_conv(
    model: nn.Module,
    patterns: str | Sequence[str],
    kernel_number: int = 4,
    keep_weights: bool = True,
    noise: float = 0.1,
    **kwargs,
) -> list[str]:
    """Replace the 3x3 convolutions whose names match by adaptive rotated ones.

    With ``keep_weights`` the changed model computes what it did before: the routing
    starts with gates 1/2 and angles 0, and the kernels are W_k = (2 / n) W + d_k with
    small random d_k that sum to zero. Without them, n equal kernels would get equal
    gradients and never become different.

    Args:
        model: Changed in place. What built its weights must not run again:
            ``init_weights`` of mm's models comes first.
        patterns: Names of modules as in ``model.named_modules()``; ``*`` and ``?`` are
            wildcards. Convolutions of other sizes than 3x3 that match a pattern with
            wildcards are left; one that is named in full is an error.
        kernel_number: Number n of kernels.
        keep_weights: Start from the plain weights.
        noise: Standard deviation of d_k, in units of the plain weight's.
        **kwargs: More arguments of :class:`AdaptiveRotatedConv2d` (dropout, max_angle).

    Returns:
        The names of what was replaced.

    Raises:
        ConfigError: A pattern matches no 3x3 convolution.

    Example:
        >>> convert_conv(yolo, ['backbone.stage?.*.conv2', 'neck.out.conv'])
    """
    patterns = [patterns] if isinstance(patterns, str) else list(patterns)
    used: set[str] = set()
    chosen: dict[str, nn.Conv2d] = {}
    for name, module in model.named_modules():
        hits = [pattern for pattern in patterns if fnmatchcase(name, pattern)]
        if hits and type(module) is nn.Conv2d:
            if module.kernel_size == (3, 3):
                used.update(hits)
                chosen[name] = module
            elif name in hits:
                raise ConfigError(
                    f'{name} is a convolution of size {module.kernel_size}: only 3x3 '
                    'kernels can be rotated'
                )
    idle = [pattern for pattern in patterns if pattern not in used]
    if idle:
        raise ConfigError(f'{idle[0]!r} matches no 3x3 nn.Conv2d of the model')
    swapped = {
        id(conv): from_conv(conv, kernel_number, keep_weights, noise, **kwargs)
        for conv in chosen.values()
    }
    for name, conv in chosen.items():
        parent, _, attribute = name.rpartition('.')
        setattr(model.get_submodule(parent), attribute, swapped[id(conv)])
    return list(chosen)


@torch.no_grad()
def from_conv(
    conv: nn.Conv2d,
    kernel_number: int = 4,
    keep_weights: bool = True,
    noise: float = 0.1,
    **kwargs,
) -> AdaptiveRotatedConv2d:
    """Make the adaptive rotated convolution that takes the place of a plain one.

    Args:
        conv: A 3x3 convolution; left as it is.
        kernel_number: As for :func:`convert_conv`, like the following.
        keep_weights: Compute what ``conv`` computes.
        noise: How far the kernels differ.
        **kwargs: More arguments of the layer.

    Returns:
        In ``conv``'s mode, on its device, trainable where ``conv`` is.
    """
    new = AdaptiveRotatedConv2d(
        conv.in_channels,
        conv.out_channels,
        conv.kernel_size,
        conv.stride,
        conv.padding,
        conv.dilation,
        conv.groups,
        conv.bias is not None,
        conv.padding_mode,
        kernel_number,
        device=conv.weight.device,
        dtype=conv.weight.dtype,
        **kwargs,
    )
    if keep_weights:
        delta = torch.randn_like(new.weight) * (noise * float(conv.weight.std()))
        delta -= delta.mean(0, keepdim=True)
        new.weight.copy_(conv.weight * (2 / kernel_number) + delta)
        for parameter in (
            new.routing.gate.weight,
            new.routing.gate.bias,
            new.routing.angle.weight,
        ):
            nn.init.zeros_(parameter)
        if conv.bias is not None:
            new.bias.copy_(conv.bias)
    new.requires_grad_(conv.weight.requires_grad)
    return new.train(conv.training)
