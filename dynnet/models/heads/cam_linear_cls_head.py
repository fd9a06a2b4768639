"""A linear classifier that pools by itself and knows CAM-loss; it needs mmpretrain."""

import torch
from mmpretrain.models.heads import LinearClsHead
from mmpretrain.models.necks import GlobalAveragePooling
from mmpretrain.structures import DataSample
from torch import Tensor, nn

from dynnet.registry import MODELS

from ..losses.cam_loss import check_feature_map, weighted_mean


@MODELS.register_module()
class CAMLinearClsHead(LinearClsHead):
    """mmpretrain's ``LinearClsHead`` behind its own global average pooling.

    The classifier that it belongs to has no neck. Parameters (``head.fc.*``), logits
    and predictions are those of ``neck=GlobalAveragePooling`` and ``LinearClsHead``
    with the same weights, so checkpoints go both ways.

    Args:
        num_classes: Number of classes C.
        in_channels: Channels K of the backbone's last map.
        loss_cam: Config of the loss on the maps (``CAMLoss``), or the loss. Its weight
            is ``head.loss_cam.loss_weight`` to :class:`ValueScheduleHook`.
        **kwargs: Other arguments of ``LinearClsHead``.

    Example:
        >>> head = dict(type='dynnet.CAMLinearClsHead', num_classes=10, in_channels=64)
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        loss_cam: dict | nn.Module = dict(type='dynnet.CAMLoss'),  # noqa: B006
        **kwargs,
    ) -> None:
        super().__init__(num_classes, in_channels, **kwargs)
        self.gap = GlobalAveragePooling()
        if not isinstance(loss_cam, nn.Module):
            loss_cam = MODELS.build(loss_cam)
        self.loss_cam = loss_cam

    def pre_logits(self, feats: tuple[Tensor, ...]) -> Tensor:
        """Pool the last map.

        Args:
            feats: Maps of the backbone's stages; the last one (N, K, H, W) counts.

        Returns:
            (N, K).

        Raises:
            ConfigError: It is no map, or has other channels.
        """
        check_feature_map(feats[-1], self.fc.weight)
        return self.gap(feats[-1])

    def loss(
        self, feats: tuple[Tensor, ...], data_samples: list[DataSample], **kwargs
    ) -> dict[str, Tensor]:
        """Compute the classification loss and the loss on the maps.

        Args:
            feats: Maps of the backbone's stages; the last one (N, K, H, W) counts.
            data_samples: With ``gt_score`` (C,) or ``gt_label`` (1,).
            **kwargs: Other arguments of the classification loss.

        Returns:
            ``loss``, the classification's; ``loss_cam``, its weight included;
            ``cam_distance``, without the weight (not part of the training loss); and
            ``constant_maps``, the number of pictures that were left out of it because
            one of their maps is constant.

        Raises:
            ConfigError: The features are no map of more than one position.
            DataError: A label is not one of the classes.
        """
        # First, because it says clearly what is wrong with a label.
        distance, constant = self.loss_cam.measure(
            feats[-1], self.fc.weight, stack_targets(data_samples)
        )
        return dict(
            super().loss(feats, data_samples, **kwargs),
            loss_cam=weighted_mean(distance, self.loss_cam.loss_weight),
            cam_distance=distance.detach().mean(),
            constant_maps=constant.sum().float(),
        )


def stack_targets(data_samples: list[DataSample]) -> Tensor:
    """Stack the labels of a batch as mmpretrain's heads do.

    Args:
        data_samples: With ``gt_score`` (C,), which batch augmentations write, or
            ``gt_label`` (1,).

    Returns:
        Scores (N, C), or classes (N,).
    """
    if 'gt_score' in data_samples[0]:
        return torch.stack([sample.gt_score for sample in data_samples])
    return torch.cat([sample.gt_label for sample in data_samples])
