"""Really leaving early: run exit by exit, keep only the samples that stay."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ..backbones import MultiExitBackbone
from ..exits import ExitCriterion
from ..heads import MultiExitHead


def run_early_exit(
    backbone: MultiExitBackbone,
    head: MultiExitHead,
    criterion: ExitCriterion,
    thresholds: Sequence[float],
    x: Tensor,
) -> tuple[Tensor, Tensor]:
    """Classify a batch; a sample is computed up to the exit it leaves at.

    Args:
        backbone: A resumable backbone with E exits.
        head: Its exits' classifiers.
        criterion: Says how ready a sample is to leave; larger means leave.
        thresholds: One per exit but the last; a sample leaves at the first exit whose
            score reaches its threshold. +inf: nobody leaves there.
        x: Pictures (N, 3, H, W).

    Returns:
        Logits (N, C) of the exit where each sample left, and that exit (N,), int64,
        from 0.
    """
    last = head.num_exits - 1
    rows = torch.arange(len(x), device=x.device)
    exit_index = torch.full_like(rows, last)
    outputs, memory = None, None
    state = backbone.init_state(x)
    for k in range(last + 1):
        feat, state = backbone.step(state)
        logits = head.forward_exit(k, feat)
        if outputs is None:
            outputs = torch.empty_like(logits)
        if k == last:
            outputs[rows] = logits
            break
        scores, memory = criterion(logits, memory)
        leave = scores >= thresholds[k]
        if not leave.any():
            continue
        left = rows[leave]
        outputs[left] = logits[leave]
        exit_index[left] = k
        stay = (~leave).nonzero().flatten()
        if len(stay) == 0:
            break
        state = backbone.select(state, stay)
        rows = rows[stay]
        memory = None if memory is None else memory[stay]
    return outputs, exit_index


def run_to_exit(
    backbone: MultiExitBackbone, head: MultiExitHead, index: int, x: Tensor
) -> Tensor:
    """Return the logits (N, C) of exit ``index`` (from 0); later exits and the earlier
    exits' classifiers are not run."""
    for k, feat in enumerate(backbone.iter_exits(x)):
        if k == index:
            return head.forward_exit(k, feat)
    raise IndexError(f'exit {index} of {backbone.num_exits}')
