"""One classifier per exit, and the loss over all of them."""

from collections.abc import Sequence

import torch
from mmengine.model import BaseModule, ModuleList
from torch import Tensor, nn

from dynnet.registry import MODELS
from dynnet.utils.errors import ConfigError


@MODELS.register_module()
class MultiExitHead(BaseModule):
    """Classifiers at the exits of a multi-exit backbone.

    Args:
        num_classes: Number of classes C.
        in_channels: Channels of the feature at each exit; a
            :class:`MultiExitClassifier` fills it in from its backbone.
        exit: Config of one exit's classifier, built with ``in_channels`` and
            ``num_classes``; a list gives every exit its own.
        loss: Config of the loss of one exit, of mm's classification form
            ``loss(logits, target, avg_factor=...)``.
        loss_weights: Weight of every exit's loss; None for the plain sum, as published.
        topk: The k of top-k accuracy. Predictions keep max(topk) labels per exit.
        init_cfg: mmengine's initialisation config.

    Raises:
        ValueError: a list whose length is not the number of exits.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: Sequence[int],
        exit: dict | Sequence[dict] = dict(type='ConvExit'),  # noqa: B006
        loss: dict = dict(type='mmpretrain.CrossEntropyLoss'),  # noqa: B006
        loss_weights: Sequence[float] | None = None,
        topk: int | tuple[int, ...] = (1,),
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        num_exits = len(in_channels)
        exits = list(exit) if isinstance(exit, (list, tuple)) else [exit] * num_exits
        if len(exits) != num_exits:
            raise ConfigError(f'{len(exits)} exit configs for {num_exits} exits')
        weights = [1.0] * num_exits if loss_weights is None else list(loss_weights)
        if len(weights) != num_exits:
            raise ConfigError(f'{len(weights)} loss_weights for {num_exits} exits')
        self.num_classes = num_classes
        self.loss_weights = weights
        self.topk = (topk,) if isinstance(topk, int) else tuple(topk)
        self.loss_module = loss if isinstance(loss, nn.Module) else MODELS.build(loss)
        self.exits = ModuleList(
            MODELS.build(dict(cfg, in_channels=c, num_classes=num_classes))
            for cfg, c in zip(exits, in_channels)
        )

    @property
    def num_exits(self) -> int:
        """Number of exits E."""
        return len(self.exits)

    def forward_exit(self, index: int, feat: Tensor) -> Tensor:
        """Map the feature of exit ``index`` (from 0) to logits (N, C)."""
        return self.exits[index](feat)

    def forward(self, feats: Sequence[Tensor]) -> list[Tensor]:
        """Map the features of all exits to logits (N, C) each."""
        return [branch(feat) for branch, feat in zip(self.exits, feats, strict=True)]

    def loss(self, feats: Sequence[Tensor], data_samples: list) -> dict[str, Tensor]:
        """Return ``{'loss_exit1': ..., 'loss_exit2': ...}``; mmengine sums them.

        Args:
            feats: Features of all exits.
            data_samples: mmpretrain's, with ``gt_label``, or ``gt_score`` after a batch
                augmentation such as mixup.
        """
        target = gather_target(data_samples, self.num_classes)
        return {
            f'loss_exit{k}': weight
            * self.loss_module(logits, target, avg_factor=len(data_samples))
            for k, (logits, weight) in enumerate(
                zip(self(feats), self.loss_weights), start=1
            )
        }


def gather_target(data_samples: list, num_classes: int) -> Tensor:
    """Stack labels (N,) or, after a batch augmentation, scores (N, C).

    Raises:
        ValueError: a label outside of the classes; the picture is named.
    """
    if 'gt_score' in data_samples[0]:
        return torch.stack([sample.gt_score for sample in data_samples])
    target = torch.cat([sample.gt_label for sample in data_samples])
    if target.numel() and not 0 <= int(target.min()) <= int(target.max()) < num_classes:
        for i, sample in enumerate(data_samples):
            label = int(sample.gt_label)
            if not 0 <= label < num_classes:
                number = sample.get('sample_idx', f'{i} of the batch')
                where = sample.get('img_path') or f'sample {number}'
                raise ConfigError(
                    f'{where}: label {label} is outside of the {num_classes} classes'
                )
    return target
