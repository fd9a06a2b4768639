"""A classifier that learns from a teacher's class activation maps."""

from collections.abc import Mapping

import torch
from mmpretrain.models import ImageClassifier
from mmpretrain.structures import DataSample
from torch import Tensor, nn

from dynnet.registry import MODELS
from dynnet.utils.checkpoint import load_weights
from dynnet.utils.errors import ConfigError

from ..heads.cam_linear_cls_head import stack_targets
from ..layers import FrozenTeacher
from ..losses import kd_loss
from ..losses.cam_loss import weighted_mean


@MODELS.register_module()
class CAMDistillClassifier(ImageClassifier):
    """The student of CAAM-CAM matching distillation.

    To everything but training it is a plain classifier: the teacher is in neither its
    parameters nor its checkpoints, and prediction does not need the teacher's weights.
    The teacher sees the pictures that the student sees, after the shared data
    preprocessor (mixup and CutMix included).

    Args:
        backbone: The student's.
        head: The student's; a ``CAMLinearClsHead`` without neck adds CAM-loss.
        teacher: Config of the teacher, or the teacher: an ``ImageClassifier`` whose
            head has one linear layer ``fc`` behind global average pooling.
        teacher_ckpt: Its weights, a file (opened with the safe loader) or an address;
            needed where ``teacher`` is a config.
        loss_match: Config of the loss on the maps.
        kd: ``loss_weight`` and ``temperature`` of the classic distillation term, see
            :func:`~dynnet.models.losses.kd_loss`; None for none.
        target: Class of the teacher's map: the ``'label'``, or what the teacher
            predicts, ``'pred'``.
        neck: The student's.
        **kwargs: Other arguments of ``ImageClassifier``.

    Raises:
        ConfigError: The teacher has other classes than the student, no class activation
            map, or no weights; or an option does not exist.
        CheckpointError: At the first training step: the teacher's weights cannot be
            opened or do not fit.
    """

    def __init__(
        self,
        backbone: dict,
        head: dict,
        teacher: dict | nn.Module,
        teacher_ckpt: str | None = None,
        loss_match: dict | nn.Module = dict(type='dynnet.CAMMatchingLoss'),  # noqa: B006
        kd: Mapping[str, float] | None = None,
        target: str = 'label',
        neck: dict | None = None,
        **kwargs,
    ) -> None:
        super().__init__(backbone=backbone, neck=neck, head=head, **kwargs)
        if target not in ('label', 'pred'):
            raise ConfigError(f"target={target!r}: choose 'label' or 'pred'")
        self.target = target
        self.kd = None if kd is None else _check_kd(kd)
        if not isinstance(loss_match, nn.Module):
            loss_match = MODELS.build(loss_match)
        self.loss_match = loss_match
        if isinstance(teacher, Mapping) and teacher_ckpt is None:
            raise ConfigError('the teacher is a config: teacher_ckpt has to be given')
        self.teacher = FrozenTeacher(teacher)
        self._check_teacher(self.teacher.model)
        self._teacher_ckpt = teacher_ckpt

    def loss(self, inputs: Tensor, data_samples: list[DataSample]) -> dict[str, Tensor]:
        """Compute the student's losses and those that the teacher gives.

        Args:
            inputs: Pictures (N, C, H, W).
            data_samples: With ``gt_score`` (C,) or ``gt_label`` (1,).

        Returns:
            What the head returns, and ``loss_match``, ``match_distance`` (without the
            weight), ``match_constant_maps`` (pictures left out of it) and, with ``kd``,
            ``loss_kd``.
        """
        self._load_teacher()
        maps = self.extract_feat(inputs, stage='backbone')
        feats = _through_neck(self, maps)
        teacher_maps = self.teacher(inputs, method='extract_feat', stage='backbone')
        teacher = self.teacher.model
        losses = self.head.loss(feats, data_samples)
        targets = stack_targets(data_samples)
        if self.kd is not None or self.target == 'pred':
            with torch.no_grad():
                teacher_logits = teacher.head(_through_neck(teacher, teacher_maps))
        if self.kd is not None:
            term = kd_loss(self.head(feats), teacher_logits, self.kd['temperature'])
            losses['loss_kd'] = self.kd['loss_weight'] * term
        if self.target == 'pred':
            targets = teacher_logits.argmax(1)
        distance, constant = self.loss_match.measure(
            maps[-1], teacher_maps[-1], teacher.head.fc.weight, targets
        )
        return dict(
            losses,
            loss_match=weighted_mean(distance, self.loss_match.loss_weight),
            match_distance=distance.detach().mean(),
            match_constant_maps=constant.sum().float(),
        )

    def _load_teacher(self) -> None:
        """Load the weights when they are needed first, without drawing numbers."""
        if self._teacher_ckpt is None:
            return
        if '://' in self._teacher_ckpt:
            self.teacher = FrozenTeacher(self.teacher.model, self._teacher_ckpt)
        else:
            load_weights(self.teacher.model, self._teacher_ckpt)
        self._teacher_ckpt = None

    def _check_teacher(self, teacher: nn.Module) -> None:
        fc = getattr(getattr(teacher, 'head', None), 'fc', None)
        if not isinstance(fc, nn.Linear):
            name = type(getattr(teacher, 'head', teacher)).__name__
            raise ConfigError(
                f'the teacher needs a head with one linear layer fc, {name} has none'
            )
        if fc.out_features != self.head.num_classes:
            raise ConfigError(
                f'the teacher has {fc.out_features} classes, the student '
                f'{self.head.num_classes}'
            )


def _through_neck(
    model: ImageClassifier, maps: tuple[Tensor, ...]
) -> tuple[Tensor, ...]:
    return model.neck(maps) if model.with_neck else maps


def _check_kd(kd: Mapping[str, float]) -> dict[str, float]:
    settings = dict(dict(loss_weight=1.0, temperature=4.0), **kd)
    unknown = set(settings) - {'loss_weight', 'temperature'}
    if unknown:
        raise ConfigError(f'unknown keys in kd: {sorted(unknown)}')
    if settings['temperature'] <= 0 or settings['loss_weight'] < 0:
        raise ConfigError(
            f'kd={settings}: temperature must be positive, loss_weight not negative'
        )
    return settings
