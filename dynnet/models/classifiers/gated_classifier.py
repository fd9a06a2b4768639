"""An mmpretrain classifier whose backbone has gates."""

from mmengine.registry import DefaultScope
from mmpretrain.models import ImageClassifier
from mmpretrain.structures import DataSample
from torch import Tensor, nn

from dynnet.registry import MODELS
from dynnet.utils.errors import ConfigError

from ..gates import GatedModelMixin, GateMeter, count_full_flops, measure_gates
from ..gates.gated_model import GATE_SETTINGS
from ..layers import FrozenTeacher
from ..losses import kd_loss


@MODELS.register_module()
class GatedClassifier(GatedModelMixin, ImageClassifier):
    """Image classifier with gates: LASNet's training and both test-time modes.

    The loss is the head's, the budget's, and ``loss_weight * kd_loss`` against a
    teacher. Test-time modes (``test_cfg.mode``): ``simulate`` computes everything and
    masks, ``execute`` computes what the gates keep, by ``test_cfg.backend``.

    Args:
        backbone: With gates: ``LASResNet``, ``LASRegNet``.
        neck: mmpretrain's.
        head: mmpretrain's.
        budget: ``MACsBudgetLoss``; None trains without.
        distillation: ``teacher``, the config of a classifier, ``checkpoint``, its
            weights, ``temperature`` (4) and ``loss_weight`` (0.5). The teacher is built
            when the first loss is computed.
        test_cfg: ``mode``, ``backend``, ``return_masks``, ``fused_gates`` and
            ``profile``: see
            :meth:`~dynnet.models.gates.gated_model.GatedModelMixin.setup_gates`.
        train_cfg: mmpretrain's, for batch augmentations.
        data_preprocessor: mmpretrain's.
        init_cfg: mmengine's initialisation config.

    Raises:
        ConfigError: A backbone without gates, or unknown settings.
    """

    def __init__(
        self,
        backbone: dict,
        neck: dict | None = None,
        head: dict | None = None,
        budget: dict | None = None,
        distillation: dict | None = None,
        test_cfg: dict | None = None,
        train_cfg: dict | None = None,
        data_preprocessor: dict | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(
            backbone=MODELS.build(backbone) if isinstance(backbone, dict) else backbone,
            neck=neck,
            head=head,
            train_cfg=train_cfg,
            data_preprocessor=data_preprocessor,
            init_cfg=init_cfg,
        )
        settings = dict(test_cfg or {})
        unknown = settings.keys() - GATE_SETTINGS
        if unknown:
            raise ConfigError(f'unknown keys in test_cfg: {sorted(unknown)}')
        self.setup_gates(budget, **settings)
        self._distillation = distillation
        self.teacher: FrozenTeacher | None = None
        self.temperature, self.kd_weight = 4.0, 0.5
        self._full: dict[tuple, int] = {}

    def _setup_teacher(
        self,
        teacher: dict,
        checkpoint: str | None = None,
        temperature: float = 4.0,
        loss_weight: float = 0.5,
    ) -> None:
        self.temperature, self.kd_weight = temperature, loss_weight
        with DefaultScope.overwrite_default_scope('mmpretrain'):
            self.teacher = FrozenTeacher(teacher, checkpoint)

    def full_macs(self, inputs: Tensor) -> int:
        """FLOPs of the network without gates by the published counter, at this size."""
        shape = tuple(inputs.shape[1:])
        if shape not in self._full:
            self._full[shape] = count_full_flops(self, shape)
        return self._full[shape]

    def loss(self, inputs: Tensor, data_samples: list[DataSample]) -> dict[str, Tensor]:
        """Compute the losses.

        Args:
            inputs: Pictures (N, 3, H, W).
            data_samples: With labels.

        Returns:
            The head's losses, ``loss_macs``, ``loss_bounds``, ``loss_kd``, and for the
            log ``density`` and ``macs_ratio``.
        """
        with measure_gates() as meter:
            feats = self.extract_feat(inputs)
        self.count_head(meter)
        losses = self.head.loss(feats, data_samples)
        if self._distillation is not None:
            if self.teacher is None:  # first asked for here: testing needs none
                self._setup_teacher(**self._distillation)
            taught = self.teacher(inputs)
            losses['loss_kd'] = self.kd_weight * kd_loss(
                self.head(feats), taught, self.temperature
            )
        return self.add_gate_losses(losses, meter, inputs)

    def count_head(self, meter: GateMeter) -> None:
        """Add the pooled map and the head's linear layers, as published."""
        head = self.head if self.with_head else nn.Identity()
        linears = [m for m in head.modules() if isinstance(m, nn.Linear)]
        if linears:
            meter.static_macs += linears[0].in_features
        meter.static_macs += sum(m.weight.numel() for m in linears)
