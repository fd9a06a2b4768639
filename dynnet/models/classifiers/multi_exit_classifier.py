"""An mmpretrain classifier with several exits."""

import torch
from mmpretrain.models import ImageClassifier
from mmpretrain.structures import DataSample
from torch import Tensor

from dynnet.registry import MODELS
from dynnet.utils.cost import ExitCosts, count_exit_costs
from dynnet.utils.errors import ConfigError

from ..backbones import MultiExitBackbone
from ..exits import ThresholdsMixin, assign_exits, build_criterion
from .early_exit import run_early_exit, run_to_exit


@MODELS.register_module()
class MultiExitClassifier(ImageClassifier, ThresholdsMixin):
    """Image classifier with early exits.

    Test-time modes (``test_cfg.mode``):

    * ``simulate``: all exits are computed, then it is decided who would have left
      where. Gives every exit's prediction, for accuracy-cost curves.
    * ``execute``: samples really leave; later exits see only those that stay.
    * ``exit=k``: everybody leaves at exit k (counted from 1).

    Args:
        backbone: A multi-exit backbone (RANet, MSDNet, StagedBackbone).
        head: A ``MultiExitHead``; its ``in_channels`` follow from the backbone.
        criterion: Exit criterion: MaxSoftmax, Margin, Entropy, Patience.
        test_cfg: ``mode``; ``thresholds``, a list (one per exit but the last) or the
            path of a thresholds JSON; ``budget``, which picks a point of that file.
        train_cfg: mmpretrain's, for batch augmentations.
        data_preprocessor: mmpretrain's.
        init_cfg: mmengine's initialisation config.

    Raises:
        ValueError: unknown mode, or thresholds that do not fit the net.
    """

    def __init__(
        self,
        backbone: dict,
        head: dict,
        criterion: dict | None = None,
        test_cfg: dict | None = None,
        train_cfg: dict | None = None,
        data_preprocessor: dict | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        backbone = MODELS.build(backbone)
        if not isinstance(backbone, MultiExitBackbone):
            raise ConfigError(
                f'{type(backbone).__name__} has one exit: put it into a '
                'dynnet.StagedBackbone'
            )
        if backbone.exit_index is not None:
            raise ConfigError(
                f'backbone.exit_index={backbone.exit_index} leaves one exit: for a '
                'plain classifier see tools/model_converters/freeze_exit.py'
            )
        if isinstance(head, dict):
            head = dict(head)
            head.setdefault('in_channels', backbone.exit_channels)
        super().__init__(
            backbone=backbone,
            head=head,
            train_cfg=train_cfg,
            data_preprocessor=data_preprocessor,
            init_cfg=init_cfg,
        )
        if self.head.num_exits != self.backbone.num_exits:
            raise ConfigError(
                f'the head has {self.head.num_exits} exits, the backbone '
                f'{self.backbone.num_exits}'
            )
        self.criterion = build_criterion(criterion or dict(type='MaxSoftmax'))
        self.thresholds: list[float] | None = None
        self.costs: ExitCosts | None = None
        test_cfg = dict(test_cfg or {})
        self.mode = test_cfg.pop('mode', 'simulate')
        self.set_thresholds(
            test_cfg.pop('thresholds', None), test_cfg.pop('budget', None)
        )
        if test_cfg:
            raise ConfigError(f'unknown keys in test_cfg: {sorted(test_cfg)}')

    @property
    def num_exits(self) -> int:
        """Number of exits E."""
        return self.head.num_exits

    @property
    def mode(self) -> str:
        """Test-time mode: 'simulate', 'execute' or 'exit=k'."""
        return self._mode

    @mode.setter
    def mode(self, mode: str) -> None:
        self._fixed_exit = None
        if mode.startswith('exit='):
            number = mode[len('exit=') :]
            if not (number.isdecimal() and 1 <= int(number) <= self.num_exits):
                raise ConfigError(
                    f'mode={mode!r}: the net has exits 1 to {self.num_exits}'
                )
            self._fixed_exit = int(number) - 1
        elif mode not in ('simulate', 'execute'):
            raise ConfigError(
                f"mode={mode!r}: choose 'simulate', 'execute' or 'exit=k'"
            )
        self._mode = mode

    @property
    def exit_costs(self) -> list[float] | None:
        """Cumulative MACs per exit; None before :meth:`measure_costs`."""
        return None if self.costs is None else self.costs.macs

    def measure_costs(self, input_shape: tuple[int, int, int]) -> ExitCosts:
        """Count what every exit costs for one picture of ``input_shape`` (C, H, W)."""
        self.costs = count_exit_costs(self, input_shape)
        return self.costs

    def forward(
        self,
        inputs: Tensor,
        data_samples: list[DataSample] | None = None,
        mode: str = 'tensor',
    ) -> Tensor | dict[str, Tensor] | list[DataSample]:
        """mmengine's entry. ``mode='tensor'`` gives all logits (E, N, C)."""
        if mode == 'tensor':
            return torch.stack(self.head(self.backbone(inputs)))
        return super().forward(inputs, data_samples, mode)

    def predict(
        self,
        inputs: Tensor,
        data_samples: list[DataSample] | None = None,
        **kwargs,
    ) -> list[DataSample]:
        """Predict in the current mode.

        Returns:
            One sample each with ``pred_score`` (C,), ``pred_label`` (1,) and
            ``exit_index`` (1,), from 0. In ``simulate`` also ``exit_labels`` (E, K),
            the top-K labels, ``exit_confs`` (E,), the largest softmax, and
            ``exit_scores`` (E,), the criterion's; else, where costs were measured,
            ``cost`` (1,), in MACs.

        Raises:
            ValueError: ``execute`` without thresholds.
        """
        if data_samples is None:
            data_samples = [DataSample() for _ in range(len(inputs))]
        fields = {}
        if self._fixed_exit is not None:
            logits = run_to_exit(self.backbone, self.head, self._fixed_exit, inputs)
            exit_index = torch.full((len(inputs),), self._fixed_exit)
            if self.costs is not None:
                cost = torch.tensor([self._fixed_exit_cost()], dtype=torch.float64)
                fields['cost'] = cost.expand(len(inputs), 1)
        elif self.mode == 'execute':
            logits, exit_index = self._execute(inputs)
            if self.costs is not None:
                costs = torch.tensor(self.costs.macs, dtype=torch.float64)
                fields['cost'] = costs[exit_index.cpu()].unsqueeze(1)
        else:
            logits, exit_index, fields = self._simulate(inputs)
        scores = logits.float().softmax(1)
        for i, sample in enumerate(data_samples):
            sample.set_pred_score(scores[i]).set_pred_label(scores[i].argmax())
            sample.set_field(exit_index[i : i + 1], 'exit_index', dtype=Tensor)
            for name, value in fields.items():
                sample.set_field(value[i], name, dtype=Tensor)
        return data_samples

    def _fixed_exit_cost(self) -> float:
        """MACs of exit k alone: the earlier exits' classifiers are not run."""
        earlier = sum(self.costs.head_macs[: self._fixed_exit])
        return float(self.costs.macs[self._fixed_exit] - earlier)

    def _execute(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        if self.thresholds is None:
            raise ConfigError(
                "mode='execute' needs thresholds: set model.test_cfg.thresholds to a "
                'list or to a file written with --save-thresholds'
            )
        return run_early_exit(
            self.backbone, self.head, self.criterion, self.thresholds, inputs
        )

    def _simulate(self, inputs: Tensor) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        logits = self(inputs)
        exit_scores = self.criterion.score_all(logits)
        probs = logits.float().softmax(2)
        top = probs.topk(min(max(self.head.topk), probs.size(2)), 2)
        if self.thresholds is None:
            exit_index = logits.new_full((len(inputs),), self.num_exits - 1).long()
        else:
            exit_index = assign_exits(exit_scores, self.thresholds)
        fields = dict(
            exit_labels=top.indices.transpose(0, 1),
            exit_confs=top.values[..., 0].t(),
            exit_scores=exit_scores.t(),
        )
        rows = torch.arange(len(inputs), device=logits.device)
        return logits[exit_index, rows], exit_index, fields
