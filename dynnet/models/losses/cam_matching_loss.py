"""Distillation by maps: the teacher's class activation map guides the student."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dynnet.registry import MODELS
from dynnet.utils.errors import ConfigError

from .activation_maps import CAAM_KINDS, class_agnostic_activation_map
from .cam_loss import (
    SOFT_LABELS,
    check_choice,
    check_feature_map,
    float_maps,
    label_maps,
    mixed_distance,
    weighted_mean,
)
from .soft_labels import check_labels

SIZES = ('smaller', 'student')


@MODELS.register_module()
class CAMMatchingLoss(nn.Module):
    r"""Distance between the student's CAAM and the teacher's CAM (CAAM-CAM matching).

    .. math::
        L = \beta \, \mathrm{mean} |\mathrm{mm}(CAAM_S) - \mathrm{mm}(CAM_{T, y})|

    Both maps have one channel, so the widths of the two nets do not matter. Where their
    sizes differ, they are averaged to a common one before the scaling. The paper
    (https://arxiv.org/abs/2109.01359) says that the teacher's CAM supervises the
    student's CAAM; form of the distance, sizes and ``loss_weight`` are ours.

    Args:
        loss_weight: The factor beta.
        size: ``'smaller'`` of the two, in each direction; ``'student'``'s; or a number
            of positions for height and width.
        eps: Smallest range of a map that is not constant.
        caam: ``'sum'`` or ``'abs_sum'`` over the student's channels.
        soft_label: What is done about labels of several classes, see :class:`CAMLoss`.

    Raises:
        ConfigError: An option does not exist.
    """

    def __init__(
        self,
        loss_weight: float = 3.0,
        size: str | int = 'smaller',
        eps: float = 1e-6,
        caam: str = 'sum',
        soft_label: str = 'mix_loss',
    ) -> None:
        super().__init__()
        if loss_weight < 0:
            raise ConfigError(f'loss_weight={loss_weight} must not be negative')
        if isinstance(size, int):
            if size < 2:
                raise ConfigError(f'size={size}: maps need at least 2 x 2 positions')
        else:
            check_choice('size', size, SIZES)
        check_choice('caam', caam, CAAM_KINDS)
        check_choice('soft_label', soft_label, SOFT_LABELS)
        self.loss_weight = loss_weight
        self.size = size
        self.eps = eps
        self.caam = caam
        self.soft_label = soft_label

    def forward(
        self, student: Tensor, teacher: Tensor, weight: Tensor, target: Tensor
    ) -> Tensor:
        """Compute the loss.

        Args:
            student: The student's map before pooling (N, K, H, W).
            teacher: The teacher's (N, K', H', W'); nothing flows into it.
            weight: Weight of the teacher's linear classifier (C, K').
            target: Classes (N,), or scores (N, C).

        Returns:
            Scalar, float32 (float64 for float64).

        Raises:
            ConfigError: A feature is no map, or the common size is one position.
            DataError: A label is not one of the C classes.
        """
        distance, _ = self.measure(student, teacher, weight, target)
        return weighted_mean(distance, self.loss_weight)

    def measure(
        self, student: Tensor, teacher: Tensor, weight: Tensor, target: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Compute every picture's distance, without ``loss_weight``.

        Args:
            student: See :meth:`forward`.
            teacher: See :meth:`forward`.
            weight: See :meth:`forward`.
            target: See :meth:`forward`.

        Returns:
            Distances (N,), and which pictures have a constant map (N,), bool.
        """
        check_feature_map(teacher, weight)
        if student.dim() != 4:
            raise ConfigError(
                'CAAM-CAM matching needs the feature map before global pooling, (N, K, '
                f'H, W), but the student has {tuple(student.shape)}'
            )
        check_labels(target, len(weight))
        with torch.autocast(student.device.type, enabled=False):
            student, teacher, weight = float_maps(student, teacher, weight)
            with torch.no_grad():
                cam, shares = label_maps(teacher, weight, target, self.soft_label)
            caam = class_agnostic_activation_map(student, self.caam)[:, None]
            size = self._common_size(caam.shape[2:], cam.shape[2:])
            caam, cam = (_average_to(maps, size) for maps in (caam, cam))
            return mixed_distance(caam[:, 0], cam.to(caam.dtype), shares, self.eps)

    def _common_size(
        self, student: tuple[int, int], teacher: tuple[int, int]
    ) -> tuple[int, int]:
        if isinstance(self.size, int):
            return self.size, self.size
        if self.size == 'student':
            return tuple(student)
        return min(student[0], teacher[0]), min(student[1], teacher[1])


def _average_to(maps: Tensor, size: tuple[int, int]) -> Tensor:
    if tuple(maps.shape[2:]) == size:
        return maps
    return F.adaptive_avg_pool2d(maps, size)
