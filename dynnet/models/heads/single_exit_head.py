"""The head of a net that was frozen to one exit; it needs mmpretrain."""

from mmpretrain.models.heads import ClsHead
from torch import Tensor, nn

from dynnet.registry import MODELS


@MODELS.register_module()
class SingleExitHead(ClsHead):
    """One exit's classifier as a plain mmpretrain head: loss and prediction are its.

    Args:
        num_classes: Number of classes.
        in_channels: Channels of the exit's feature.
        branch: Config of the exit's classifier, built with ``in_channels`` and
            ``num_classes``.
        loss: Config of the loss.
        topk: The k of top-k accuracy, for ``cal_acc``.
        cal_acc: Whether to report the accuracy while training.
        init_cfg: mmengine's initialisation config.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        branch: dict = dict(type='ConvExit'),  # noqa: B006
        loss: dict = dict(type='mmpretrain.CrossEntropyLoss'),  # noqa: B006
        topk: int | tuple[int, ...] = (1,),
        cal_acc: bool = False,
        init_cfg: dict | None = None,
    ) -> None:
        # Built here: a name without a scope means the same as in a MultiExitHead.
        loss = loss if isinstance(loss, nn.Module) else MODELS.build(loss)
        super().__init__(loss, topk, cal_acc, init_cfg)
        self.num_classes = num_classes
        self.branch = MODELS.build(
            dict(branch, in_channels=in_channels, num_classes=num_classes)
        )

    def forward(self, feats: tuple[Tensor, ...]) -> Tensor:
        """Map the features, of which the last (N, C, H, W) counts, to logits."""
        return self.branch(self.pre_logits(feats))
