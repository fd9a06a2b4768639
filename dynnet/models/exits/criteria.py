"""Exit criteria: one score per sample and exit, larger means leave."""

import math
from abc import ABCMeta, abstractmethod
from typing import Any

import torch
from torch import Tensor

from dynnet.registry import EXIT_CRITERIA
from dynnet.utils.errors import ConfigError


class ExitCriterion(metaclass=ABCMeta):
    """Score how ready samples are to leave at an exit.

    A sample leaves at the first exit whose score reaches that exit's threshold. Scores
    are float32 whatever the logits' precision: confidences near 1 tie in half
    precision, and a tie moves thresholds.

    Attributes:
        solvable: Whether thresholds are solved from scores. False for a criterion whose
            threshold is an integer setting, which is swept.
    """

    solvable = True

    @abstractmethod
    def __call__(
        self, logits: Tensor, memory: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Score one exit.

        Args:
            logits: Shape (N, C).
            memory: What the call for the previous exit returned, its rows selected like
                the samples' (first dimension N); None at the first exit.

        Returns:
            Scores (N,) float32 and the memory for the next exit, or None.
        """

    def score_all(self, logits: Tensor) -> Tensor:
        """Score all exits.

        Args:
            logits: Shape (E, N, C).

        Returns:
            Scores (E, N) float32.
        """
        memory, scores = None, []
        for exit_logits in logits:
            score, memory = self(exit_logits, memory)
            scores.append(score)
        return torch.stack(scores)

    def default_thresholds(self, num_exits: int) -> list[float] | None:
        """Thresholds (``num_exits - 1``) that follow from the settings, if any do."""
        return None

    @property
    def config(self) -> dict[str, Any]:
        """What decides the scores, as stored beside thresholds."""
        return dict(type=type(self).__name__)

    def __repr__(self) -> str:
        settings = {k: v for k, v in self.config.items() if k != 'type'}
        return f'{type(self).__name__}({settings or ""})'


@EXIT_CRITERIA.register_module()
class MaxSoftmax(ExitCriterion):
    """The largest softmax probability, the criterion of MSDNet and RANet."""

    def __call__(
        self, logits: Tensor, memory: Tensor | None = None
    ) -> tuple[Tensor, None]:
        return logits.float().softmax(dim=1).amax(dim=1), None


@EXIT_CRITERIA.register_module()
class MaxLogit(ExitCriterion):
    """The largest logit itself, the criterion of AdaFocus's conditional exit."""

    def __call__(
        self, logits: Tensor, memory: Tensor | None = None
    ) -> tuple[Tensor, None]:
        return logits.float().amax(dim=1), None


@EXIT_CRITERIA.register_module()
class Margin(ExitCriterion):
    """The largest softmax probability minus the second largest."""

    def __call__(
        self, logits: Tensor, memory: Tensor | None = None
    ) -> tuple[Tensor, None]:
        _check_classes(self, logits)
        top = logits.float().softmax(dim=1).topk(2, dim=1).values
        return top[:, 0] - top[:, 1], None


@EXIT_CRITERIA.register_module()
class Entropy(ExitCriterion):
    r"""One minus the normalised entropy, :math:`1 - H(p) / \log C`, in [0, 1]."""

    def __call__(
        self, logits: Tensor, memory: Tensor | None = None
    ) -> tuple[Tensor, None]:
        _check_classes(self, logits)
        log_p = logits.float().log_softmax(dim=1)
        # A class ruled out (logit -inf) adds nothing: 0 * log 0 = 0.
        terms = (log_p.exp() * log_p).masked_fill(log_p.isneginf(), 0.0)
        return 1.0 + terms.sum(dim=1) / math.log(logits.shape[1]), None


@EXIT_CRITERIA.register_module()
class Patience(ExitCriterion):
    """How many exits in a row, this one included, predict the same label.

    The memory holds one row per sample: last label, length of its run.

    Args:
        patience: A sample leaves once this many exits in a row agree. 1 lets everybody
            leave at the first exit.
    """

    solvable = False

    def __init__(self, patience: int = 2) -> None:
        if patience != int(patience) or patience < 1:
            raise ConfigError(f'patience must be a positive integer, not {patience}')
        self.patience = int(patience)

    def __call__(
        self, logits: Tensor, memory: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        label = logits.argmax(dim=1)
        run = torch.ones_like(label)
        if memory is not None:
            run = torch.where(label == memory[:, 0], memory[:, 1] + 1, run)
        return run.float(), torch.stack([label, run], dim=1)

    def default_thresholds(self, num_exits: int) -> list[float]:
        return [float(self.patience)] * (num_exits - 1)


def _check_classes(criterion: ExitCriterion, logits: Tensor) -> None:
    if logits.shape[1] < 2:
        raise ConfigError(
            f'{type(criterion).__name__} compares classes and needs at least 2, got '
            f'logits of shape {tuple(logits.shape)}'
        )
