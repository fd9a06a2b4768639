"""CAM-loss: what is seen should be seen where the target class is."""

import torch
from torch import Tensor, nn

from dynnet.registry import MODELS
from dynnet.utils.errors import ConfigError

from .activation_maps import (
    CAAM_KINDS,
    class_activation_map,
    class_agnostic_activation_map,
    map_distance,
)
from .soft_labels import check_labels, class_shares, hard_labels

SOFT_LABELS = ('mix_loss', 'mix_weight', 'argmax')


def float_maps(*tensors: Tensor) -> list[Tensor]:
    """Give tensors float32 where they have less: sums of channels overflow half."""
    return [t.to(torch.promote_types(t.dtype, torch.float32)) for t in tensors]


@MODELS.register_module()
class CAMLoss(nn.Module):
    r"""Distance between class-agnostic and class activation map.

    Wang et al., *Towards Learning Spatially Discriminative Feature Representations*,
    ICCV 2021, https://arxiv.org/abs/2109.01359. With :math:`\mathrm{mm}` the min-max
    scaling of one picture's map over all its positions,

    .. math::
        L_{cam} = \frac{1}{NHW} \sum_n \sum_{h,w}
            |\mathrm{mm}(\sum_k F_k) - \mathrm{mm}(\sum_k W_{y,k} F_k)|

    It is an addition to a classification loss and never one by itself: the distance is
    blind to the sign of the logit. The formula follows reports on the paper; the
    default weight is of no published experiment (``configs/cam_loss/README.md``).

    Args:
        loss_weight: The factor alpha. 0 costs no backward pass and leaves the training
            exactly what it is without this loss.
        detach_weight: Whether the classifier's weight gets no gradient; else the
            loss is lowest for a classifier that does not tell channels apart.
        detach_cam: Whether the class activation map is a fixed target.
        eps: Smallest range of a map that is not constant, see
            :func:`~.activation_maps.min_max_normalize`.
        caam: ``'sum'`` or ``'abs_sum'``, see
            :func:`~.activation_maps.class_agnostic_activation_map`.
        soft_label: What is done about labels of several classes. ``'mix_loss'`` mixes
            the classes' distances as the label mixes the classes (of a multi-label,
            the mean); ``'mix_weight'`` mixes their weight rows into one map;
            ``'argmax'`` takes the largest class, for labels that were smoothed.

    Raises:
        ConfigError: An option does not exist, or ``loss_weight`` is negative.

    Example:
        >>> feat, weight = torch.rand(2, 8, 4, 4), torch.rand(10, 8)
        >>> float(CAMLoss()(feat, weight, torch.tensor([3, 7]))) > 0
        True
    """

    def __init__(
        self,
        loss_weight: float = 3.0,
        detach_weight: bool = True,
        detach_cam: bool = False,
        eps: float = 1e-6,
        caam: str = 'sum',
        soft_label: str = 'mix_loss',
    ) -> None:
        super().__init__()
        if loss_weight < 0:
            raise ConfigError(f'loss_weight={loss_weight} must not be negative')
        check_choice('caam', caam, CAAM_KINDS)
        check_choice('soft_label', soft_label, SOFT_LABELS)
        self.loss_weight = loss_weight
        self.detach_weight = detach_weight
        self.detach_cam = detach_cam
        self.eps = eps
        self.caam = caam
        self.soft_label = soft_label

    def forward(
        self,
        feat: Tensor,
        weight: Tensor,
        target: Tensor,
        avg_factor: float | None = None,
    ) -> Tensor:
        """Compute the loss.

        Args:
            feat: Feature map before global average pooling (N, K, H, W).
            weight: Weight of the linear classifier (C, K).
            target: Classes (N,), or scores (N, C).
            avg_factor: What the sum over the pictures is divided by; None means N.

        Returns:
            Scalar, float32 (float64 for float64).

        Raises:
            ConfigError: The feature is no map, has one position, or its channels are
                not the classifier's.
            DataError: A label is not one of the C classes.
        """
        distance, _ = self.measure(feat, weight, target)
        return weighted_mean(distance, self.loss_weight, avg_factor)

    def measure(
        self, feat: Tensor, weight: Tensor, target: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Compute every picture's distance, without ``loss_weight``.

        Args:
            feat: Feature map before global average pooling (N, K, H, W).
            weight: Weight of the linear classifier (C, K).
            target: Classes (N,), or scores (N, C).

        Returns:
            Distances (N,), and which pictures have a constant map (N,), bool.

        Raises:
            ConfigError: See :meth:`forward`.
            DataError: See :meth:`forward`.
        """
        check_feature_map(feat, weight)
        check_labels(target, len(weight))
        with (
            torch.set_grad_enabled(torch.is_grad_enabled() and self.loss_weight != 0),
            torch.autocast(feat.device.type, enabled=False),
        ):
            feat, weight = float_maps(feat, weight)
            if self.detach_weight:
                weight = weight.detach()
            cam, shares = label_maps(feat, weight, target, self.soft_label)
            if self.detach_cam:
                cam = cam.detach()
            caam = class_agnostic_activation_map(feat, self.caam)
            return mixed_distance(caam, cam, shares, self.eps)


def weighted_mean(
    distance: Tensor, loss_weight: float, avg_factor: float | None = None
) -> Tensor:
    """Turn distances into a loss.

    Args:
        distance: One for every picture (N,).
        loss_weight: Factor; 0 gives a zero that nothing is behind.
        avg_factor: What the sum is divided by; None means N.

    Returns:
        Scalar.
    """
    if loss_weight == 0:
        return distance.new_zeros(())
    count = max(1, len(distance)) if avg_factor is None else avg_factor
    return loss_weight * distance.sum() / count


def label_maps(
    feat: Tensor, weight: Tensor, target: Tensor, soft_label: str = 'mix_loss'
) -> tuple[Tensor, Tensor]:
    """Compute the class activation maps that a label asks for.

    Args:
        feat: Feature map (N, K, H, W).
        weight: Weight of the linear classifier (C, K).
        target: Classes (N,), or scores (N, C).
        soft_label: See :class:`CAMLoss`.

    Returns:
        Maps (N, M, H, W), M of them for every picture, and how much each counts
        (N, M); the shares of a picture sum to 1, or are 0 where it has no class.
    """
    if soft_label == 'argmax':
        target = hard_labels(target)
    classes, shares = class_shares(target)
    shares = shares.to(feat.dtype)
    if soft_label == 'mix_weight':
        rows = (shares[..., None] * weight[classes]).sum(1)
        own = torch.arange(len(feat), device=feat.device)
        cam = class_activation_map(feat, rows, own[:, None])
        return cam, (shares.sum(1, keepdim=True) > 0).to(feat.dtype)
    return class_activation_map(feat, weight, classes), shares


def mixed_distance(
    caam: Tensor, cam: Tensor, shares: Tensor, eps: float
) -> tuple[Tensor, Tensor]:
    """Compare one map with several, as much as each counts.

    Args:
        caam: Class-agnostic maps (N, H, W).
        cam: Class activation maps (N, M, H, W).
        shares: How much each of them counts (N, M).
        eps: See :func:`~.activation_maps.min_max_normalize`.

    Returns:
        Distances (N,), and which pictures have a constant map among those that count
        (N,), bool.
    """
    distance, varies = map_distance(caam[:, None].expand_as(cam), cam, eps)
    return (distance * shares).sum(1), ~(varies | (shares == 0)).all(1)


def check_choice(name: str, value: object, choices: tuple[str, ...]) -> None:
    """Raise a ConfigError unless ``value`` is one of ``choices``."""
    if value not in choices:
        raise ConfigError(f'{name}={value!r}: choose from {", ".join(choices)}')


def check_feature_map(feat: Tensor, weight: Tensor) -> None:
    """Refuse features that are not the map in front of a linear classifier.

    Args:
        feat: Should be (N, K, H, W).
        weight: Weight of the classifier (C, K).

    Raises:
        ConfigError: The feature has no positions, or another number of channels.
    """
    if feat.dim() != 4:
        raise ConfigError(
            f'CAM-loss needs the feature map before global pooling, (N, K, H, W), but '
            f'got {tuple(feat.shape)}: set neck=None; a backbone with fully connected '
            'layers of its own (VGG with num_classes) has no such map'
        )
    if feat.size(1) != weight.size(1):
        raise ConfigError(
            f'the feature map has {feat.size(1)} channels, the linear classifier takes '
            f'{weight.size(1)}'
        )
