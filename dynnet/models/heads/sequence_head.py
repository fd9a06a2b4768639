"""Classifiers that read a clip frame by frame and have an answer after each."""

from abc import ABCMeta, abstractmethod

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn

from dynnet.registry import MODELS


class SequenceHead(BaseModule, metaclass=ABCMeta):
    """A causal classifier: logits after frame t depend on the frames up to t.

    Its memory is one tensor (N, S), so that a rollout can branch off after any frame.

    Args:
        num_classes: Number of classes C.
        in_channels: Width D of a frame's feature.
        dropout: Dropout ratio.
        init_cfg: mmengine's initialisation config.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        dropout: float = 0.0,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.num_classes = num_classes
        self.in_channels = in_channels
        self.dropout = nn.Dropout(dropout)

    @abstractmethod
    def init_state(self, feats: Tensor) -> Tensor:
        """The memory (N, S) before the first frame of features (N, T, D)."""

    @abstractmethod
    def run(self, feats: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Read frames.

        Args:
            feats: Features (N, T, D).
            state: Memory before them (N, S); None at the beginning.

        Returns:
            Logits (N, T, C) after each frame, and the memory after each (N, T, S).
        """

    def forward(self, feats: Tensor) -> Tensor:
        """Map the features (N, T, D) of a clip to logits (N, T, C) after each frame."""
        return self.run(feats)[0]

    def peek(self, feats: Tensor, states: Tensor) -> Tensor:
        """Logits if frame t had been another one, after the true frames before it.

        Args:
            feats: Features (N, T, D) of the other frames.
            states: Memory after each true frame (N, T, S), as :meth:`run` gives it.

        Returns:
            Logits (N, T, C).
        """
        before = torch.cat([self.init_state(feats)[:, None], states[:, :-1]], 1)
        logits, _ = self.run(feats.flatten(0, 1)[:, None], before.flatten(0, 1))
        return logits.view(*feats.shape[:2], -1)

    @abstractmethod
    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The classification loss of logits (N, T, C) and labels (N,), scalar."""


@MODELS.register_module()
class RecurrentHead(SequenceHead):
    """AdaFocus's recurrent classifier: a GRU over the frames' features.

    Args:
        num_classes: Number of classes C.
        in_channels: Width of a frame's feature, global and local concatenated.
        hidden_channels: Width of the memory.
        dropout: Dropout ratio on the GRU's outputs.
        init_cfg: mmengine's initialisation config.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int = 3328,
        hidden_channels: int = 1024,
        dropout: float = 0.8,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(num_classes, in_channels, dropout, init_cfg)
        self.gru = nn.GRU(in_channels, hidden_channels, batch_first=True)
        self.fc = nn.Linear(hidden_channels, num_classes)

    def init_state(self, feats: Tensor) -> Tensor:
        return feats.new_zeros(len(feats), self.gru.hidden_size)

    def run(self, feats: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        states, _ = self.gru(feats, None if state is None else state[None].contiguous())
        return self.fc(self.dropout(states)), states

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Cross-entropy over the logits after all frames, so that early ones count."""
        return F.cross_entropy(
            logits.flatten(0, 1), labels.repeat_interleave(logits.size(1))
        )


@MODELS.register_module()
class MeanProbabilityHead(SequenceHead):
    """Averages the frames' class probabilities; its logits are logs of that mean."""

    def __init__(
        self,
        num_classes: int,
        in_channels: int = 3328,
        dropout: float = 0.0,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(num_classes, in_channels, dropout, init_cfg)
        self.fc = nn.Linear(in_channels, num_classes)

    def init_state(self, feats: Tensor) -> Tensor:
        # The sum of the probabilities, and how many frames it is of.
        return feats.new_zeros(len(feats), self.num_classes + 1)

    def run(self, feats: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        state = self.init_state(feats) if state is None else state
        probs = self.fc(self.dropout(feats)).softmax(-1)
        new = torch.cat([probs, torch.ones_like(probs[..., :1])], -1)
        states = state[:, None] + new.cumsum(1)
        return (states[..., :-1] / states[..., -1:]).log(), states

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Negative log-likelihood of the mean over all frames."""
        return F.nll_loss(logits[:, -1], labels)


@MODELS.register_module()
class FrameMeanHead(BaseModule):
    """Averages the frames' logits: TSM's classifier, for each of AdaFocus's encoders.

    Args:
        num_classes: Number of classes C.
        in_channels: Width of a frame's feature.
        dropout: Dropout ratio on the features.
        init_cfg: mmengine's initialisation config.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int = 2048,
        dropout: float = 0.5,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.num_classes = num_classes
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(in_channels, num_classes)

    def forward_frames(self, feats: Tensor) -> Tensor:
        """Map features (..., D) to logits (..., C) of each frame."""
        return self.fc(self.dropout(feats))

    def forward(self, feats: Tensor) -> Tensor:
        """Map the features (N, T, D) of a clip to logits (N, C)."""
        return self.forward_frames(feats).mean(1)
