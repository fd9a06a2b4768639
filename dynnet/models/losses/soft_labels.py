"""From any label to classes and their weights."""

import torch
from torch import Tensor

from dynnet.utils.errors import DataError

# A class with less than this part of a label does not count.
SMALLEST_SHARE = 1e-3


def check_labels(target: Tensor, num_classes: int) -> None:
    """Refuse labels that a classifier cannot have.

    Args:
        target: Classes (N,), or scores (N, C).
        num_classes: Number of classes C.

    Raises:
        DataError: A class is not below C or is negative, or scores are of another
            number of classes.
    """
    if target.dim() == 2:
        if target.size(1) != num_classes:
            raise DataError(
                f'labels have scores for {target.size(1)} classes, the classifier has '
                f'{num_classes}'
            )
    elif target.numel():
        low, high = (int(bound) for bound in target.aminmax())
        if low < 0 or high >= num_classes:
            wrong = low if low < 0 else high
            raise DataError(f'label {wrong} is not between 0 and {num_classes - 1}')


def class_shares(target: Tensor) -> tuple[Tensor, Tensor]:
    """List the classes of each picture with their shares of its label.

    Args:
        target: Classes (N,) int, or scores (N, C): of one class, mixed ones (mixup,
            CutMix), or ones for several classes (multi-label).

    Returns:
        Classes (N, M) int64 and their shares (N, M) float32, which sum to 1 for every
        picture that has a class; M is the largest number of classes of a picture.
        Places beyond a picture's classes have share 0.
    """
    if target.dim() == 1:
        classes = target.long()[:, None]
        return classes, torch.ones_like(classes, dtype=torch.float32)
    scores = target.float()
    shares = scores / scores.sum(1, keepdim=True).clamp_min(SMALLEST_SHARE)
    shares = torch.where(shares < SMALLEST_SHARE, 0, shares)
    number = max(1, int((shares > 0).sum(1).max())) if len(shares) else 1
    shares, classes = shares.topk(number, 1)
    return classes, shares / shares.sum(1, keepdim=True).clamp_min(SMALLEST_SHARE)


def hard_labels(target: Tensor) -> Tensor:
    """Take the class (N,) int64 with the largest score.

    Args:
        target: Classes (N,) int, or scores (N, C).
    """
    return target.argmax(1) if target.dim() == 2 else target.long()
