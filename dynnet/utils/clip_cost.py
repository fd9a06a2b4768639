"""What a clip costs, part by part, in multiply-accumulates as AdaFocus's paper counts.

Convolutions, linear layers and GRUs count; BN, activations and pooling are free. Of the
encoders the classification layers of stage 0 are left out: they are not run.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import nn

from .cost import count_macs


@dataclass
class ClipCosts:
    """MACs of a clip's parts.

    Attributes:
        num_frames: Frames T per clip; 1 where a clip has one answer.
        glance: f_G, per frame (per clip where ``num_frames`` is 1).
        policy: The policy, likewise.
        focus: f_L on one patch (on all patches of the clip).
        head: The classifiers, likewise.
        uncounted: Modules that ran and have no counting rule.
    """

    num_frames: int
    glance: float
    policy: float
    focus: float
    head: float
    uncounted: list[str] = field(default_factory=list)
    # Early exit's loops ask for the count of other papers' counter: there is none.
    published_flops: None = None

    def of_frames(self, frames: int, focused: int) -> float:
        """MACs of ``frames`` frames of which ``focused`` were looked at closely."""
        return frames * (self.glance + self.policy + self.head) + focused * self.focus

    @property
    def macs(self) -> list[float]:
        """MACs up to each frame, all of them looked at closely."""
        return [self.of_frames(t, t) for t in range(1, self.num_frames + 1)]

    @property
    def total(self) -> float:
        """MACs of the whole clip."""
        return self.of_frames(self.num_frames, self.num_frames)


def count_clip_costs(model: nn.Module, frame_size: int, num_frames: int) -> ClipCosts:
    """Count an ``AdaFocus``.

    Args:
        model: The recognizer; it is not changed.
        frame_size: Side of the frames.
        num_frames: Frames per clip.
    """
    uncounted: list[str] = []
    costs = _count(clip_parts(model, frame_size), uncounted)
    return ClipCosts(num_frames, **costs, uncounted=uncounted)


def count_two_stream_costs(
    model: nn.Module, frame_size: int, num_glance: int, num_focus: int
) -> ClipCosts:
    """Count an ``AdaFocusTSM``; a clip is one unit.

    Args:
        model: The recognizer; it is not changed.
        frame_size: Side of the frames.
        num_glance: Frames of the glance.
        num_focus: Frames of the focus.
    """
    uncounted: list[str] = []
    parts = two_stream_parts(model, frame_size, num_glance, num_focus)
    return ClipCosts(1, **_count(parts, uncounted), uncounted=uncounted)


# How a part runs: its module, calls of it on one unit, and how often a clip has that.
Parts = dict[str, tuple[nn.Module, list[Callable[[], object]], int]]


def clip_parts(model: nn.Module, frame_size: int) -> Parts:
    """Say how the parts of an ``AdaFocus`` run on a frame, without memory.

    Args:
        model: The recognizer; it is not changed.
        frame_size: Side of the frames.

    Returns:
        ``glance``, ``policy``, ``focus`` and ``head``.
    """
    model = _on_meta(model)
    with torch.device('meta'), torch.no_grad():
        frame = torch.empty(1, 3, frame_size, frame_size)
        patch = torch.empty(1, 3, model.patch_size, model.patch_size)
        maps = model.encode_global(frame)
        feats = torch.empty(1, 1, model.cls_head.in_channels)
    return dict(
        glance=(model, [lambda: model.encode_global(frame)], 1),
        policy=(model.policy, [lambda: model.policy(maps[None])], 1),
        focus=(model, [lambda: model.encode_local(patch)], 1),
        head=(model.cls_head, [lambda: model.cls_head(feats)], 1),
    )


def two_stream_parts(
    model: nn.Module, frame_size: int, num_glance: int, num_focus: int
) -> Parts:
    """Say how the parts of an ``AdaFocusTSM`` run on a clip, without memory.

    Args:
        model: The recognizer; it is not changed.
        frame_size: Side of the frames.
        num_glance: Frames of the glance.
        num_focus: Frames of the focus.

    Returns:
        ``glance``, ``policy``, ``focus`` and ``head``; a call of an encoder is for all
        frames of a clip, one of which counts.
    """
    model = _on_meta(model)
    with torch.device('meta'), torch.no_grad():
        frames = torch.empty(num_glance, 3, frame_size, frame_size)
        patches = torch.empty(num_focus, 3, model.patch_size, model.patch_size)
        maps = model.encode_global(frames)[None]
        heads = [
            (head, torch.empty(1, number, head.fc.in_features))
            for number, head in (
                (num_glance, model.global_head),
                (num_focus, model.cls_head),
            )
        ]
    calls = [lambda head=head, x=x: head(x) for head, x in heads]
    return dict(
        glance=(model, [lambda: model.encode_global(frames)], num_glance),
        policy=(model.policy, [lambda: model.policy(model.states(maps))], 1),
        focus=(model, [lambda: model.encode_local(patches)], num_focus),
        head=(model, calls, 1),
    )


def _on_meta(model: nn.Module) -> nn.Module:
    """A copy without memory: shapes are all that is needed."""
    return copy.deepcopy(model).to('meta').eval()


def _count(parts: Parts, uncounted: list[str]) -> dict[str, float]:
    costs = dict.fromkeys(parts, 0)
    with torch.device('meta'), torch.no_grad():
        for name, (module, calls, times) in parts.items():
            for call in calls:
                macs, missed = count_macs(module, call)
                costs[name] += times * macs
                uncounted += missed
    return costs
