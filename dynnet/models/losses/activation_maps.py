"""Class activation maps and the distance between them: pure functions.

Notation: ``F`` (N, K, H, W) is the feature map before global average pooling, ``W``
(C, K) the weight of the linear classifier behind it.
"""

import math

import torch
from torch import Tensor

from dynnet.utils.errors import ConfigError

CAAM_KINDS = ('sum', 'abs_sum')


def class_activation_map(feat: Tensor, weight: Tensor, label: Tensor) -> Tensor:
    r"""Compute what speaks for a class, and where: ``CAM_c = \sum_k W[c, k] F_k``.

    The classifier's bias is left out: it is the same everywhere.

    Args:
        feat: Feature map (N, K, H, W).
        weight: Weight of the linear classifier (C, K).
        label: Classes (N,), or several for each picture (N, M); int64 in [0, C).

    Returns:
        Map (N, H, W), or maps (N, M, H, W).
    """
    rows = weight[label]
    cam = torch.bmm(rows.reshape(len(feat), -1, feat.size(1)), feat.flatten(2))
    return cam.reshape(*label.shape, *feat.shape[2:])


def class_agnostic_activation_map(feat: Tensor, kind: str = 'sum') -> Tensor:
    r"""Compute where anything is seen: ``CAAM = \sum_k F_k``.

    Args:
        feat: Feature map (N, K, H, W).
        kind: ``'sum'``, as the method is described; ``'abs_sum'`` adds absolute values,
            for features that are not behind a ReLU.

    Returns:
        Map (N, H, W).
    """
    if kind not in CAAM_KINDS:
        raise ConfigError(f'caam={kind!r}: choose from {", ".join(CAAM_KINDS)}')
    return (feat if kind == 'sum' else feat.abs()).sum(1)


def min_max_normalize(maps: Tensor, eps: float = 1e-6) -> tuple[Tensor, Tensor]:
    """Scale every map to [0, 1] over *all* of its positions.

    Gradients flow through minimum and maximum too: that keeps the result's gradient
    blind to offset and scale, as the result is.

    Args:
        maps: (..., H, W).
        eps: A map whose range is not larger than this is constant.

    Returns:
        The scaled maps (..., H, W), and which of them were not constant (...), bool.
        A constant map becomes zero and passes no gradient on.
    """
    low, high = maps.amin((-2, -1), keepdim=True), maps.amax((-2, -1), keepdim=True)
    spread = high - low
    varies = ~(spread <= eps)  # NaN is no constant: it has to be seen
    # Both operands are chosen before the division: 0 / 0 would leave NaN gradients.
    scaled = torch.where(varies, maps - low, 0) / torch.where(varies, spread, 1)
    return scaled, varies[..., 0, 0]


def map_distance(a: Tensor, b: Tensor, eps: float = 1e-6) -> tuple[Tensor, Tensor]:
    """Compare maps by the mean absolute difference of their min-max scaled forms.

    Args:
        a: Maps (..., H, W).
        b: Maps (..., H, W).
        eps: See :func:`min_max_normalize`.

    Returns:
        Distances (...) in [0, 1], and which pairs could be compared (...), bool. Where
        one of the two maps is constant, distance and gradient are zero.

    Raises:
        ConfigError: The maps have a single position, or their sizes differ.
    """
    if a.shape[-2:] != b.shape[-2:]:
        raise ConfigError(
            f'maps of {tuple(a.shape[-2:])} and {tuple(b.shape[-2:])} positions do not '
            'compare'
        )
    if a.size(-1) * a.size(-2) == 1:
        raise ConfigError(
            'the feature map has one position (1x1): there is nothing to compare; use '
            'larger pictures or a smaller stride'
        )
    (a, a_varies), (b, b_varies) = min_max_normalize(a, eps), min_max_normalize(b, eps)
    both = a_varies & b_varies
    return torch.where(both[..., None, None], a - b, 0).abs().mean((-2, -1)), both


def top_share(mass: Tensor, guide: Tensor, fraction: float = 0.2) -> Tensor:
    """Tell how much of one map lies where another one is largest.

    Args:
        mass: Maps (..., H, W); what is negative counts as zero.
        guide: Maps (..., H, W).
        fraction: Part of the positions of ``guide`` that counts, rounded up.

    Returns:
        Shares (...) in [0, 1]; about ``fraction`` if the maps have nothing to do with
        each other, zero for maps without any positive value.
    """
    mass, guide = mass.flatten(-2).clamp_min(0), guide.flatten(-2)
    number = math.ceil(guide.size(-1) * fraction)
    inside = mass.gather(-1, guide.topk(number, -1).indices).sum(-1)
    total = mass.sum(-1)
    return torch.where(total > 0, inside / total.clamp_min(1e-30), 0)
