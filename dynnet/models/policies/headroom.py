"""What there is to gain by choosing patches: before a policy is trained, or when one
does not learn."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from dynnet.ops.patches import action_grid, patch_corners
from dynnet.utils.errors import ConfigError

from .rewards import confidence


@dataclass
class Headroom:
    """How much the place of the patches matters to a classifier.

    Attributes:
        confidence: Mean probability of the truth, patches anywhere.
        place_sd: Standard deviation of it over the places of a frame (root mean square
            over all frames).
        place_share: Share of its whole variance that the place accounts for, 0 to 1.
        ceiling: How much surer than the mean place the best one is, averaged over the
            frames: the reward of a policy that knows the truth.
        right_mean: Share of clips that are right after the last frame, places averaged.
        right_best: Share of clips that some place, kept over all frames, gets right.
    """

    confidence: float
    place_sd: float
    place_share: float
    ceiling: float
    right_mean: float
    right_best: float


def summarise_headroom(confidences: Tensor, right: Tensor) -> Headroom:
    """Sum up what the places do.

    Args:
        confidences: Probability of the truth if frame t of clip n were looked at in
            place a, (T, N, A).
        right: Whether clip n is right with place a on all its frames (N, A), bool.
    """
    conf = confidences.double()
    within = conf.var(-1, correction=0).mean()
    total = conf.var(correction=0)
    return Headroom(
        confidence=float(conf.mean()),
        place_sd=float(within.sqrt()),
        place_share=float(within / total) if total > 0 else 0.0,
        ceiling=float((conf.amax(-1) - conf.mean(-1)).mean()),
        right_mean=float(right.double().mean()),
        right_best=float(right.any(-1).double().mean()),
    )


@torch.no_grad()
def try_places(
    model: nn.Module, frames: Tensor, labels: Tensor, num_places: int = 16
) -> tuple[Tensor, Tensor]:
    """Look at every frame in every place of a grid.

    Args:
        model: An ``AdaFocus`` whose classifier is a ``SequenceHead``, in eval mode.
        frames: Shape (N, T, 3, H, W).
        labels: Shape (N,).
        num_places: A, a square number.

    Returns:
        As :func:`summarise_headroom` takes them: the confidences (T, N, A), each after
        frames that were looked at in random places, as the reward sees them; and who
        is right with one place throughout (N, A).

    Raises:
        ConfigError: ``num_places`` makes no grid, or a model of another kind.
    """
    if not hasattr(getattr(model, 'cls_head', None), 'peek'):
        raise ConfigError(
            f'{type(model).__name__} does not answer frame by frame: only the '
            'recurrent form of AdaFocus does'
        )
    n, t = frames.shape[:2]
    flat = frames.flatten(0, 1)
    glance = model.encode_global(flat).mean((2, 3))

    def sequence(corners: Tensor) -> Tensor:
        local = model.look(flat, corners.flatten(0, 1))
        return model.join(glance, local).unflatten(0, (n, t))

    memories = model.cls_head.run(sequence(model.random_corners(frames)))[1]
    grid = action_grid(num_places).to(frames.device)
    confidences, right = [], []
    for place in grid:
        corner = patch_corners(place, frames.size(-1), model.patch_size)
        feats = sequence(corner.expand(n, t, 2))
        peeked = model.cls_head.peek(feats, memories).transpose(0, 1)
        confidences.append(confidence(peeked, labels))
        right.append(model.cls_head(feats)[:, -1].argmax(-1) == labels)
    return torch.stack(confidences, -1), torch.stack(right, -1)
