"""Milliseconds of clips: AdaFocus's encoders, policy and classifier, part by part."""

from dataclasses import dataclass, field

import torch
from torch import nn

from dynnet.utils.clip_cost import clip_parts, two_stream_parts

from .describe import Tracer
from .estimate import LatencyModel
from .network import LayerSpec, NetworkSpec


@dataclass(frozen=True)
class ClipLatencies:
    """Predicted times of a clip's parts.

    They are those of one unit when as many run together as the latency model's batch:
    frames for an encoder, clips for the policy and the classifier.

    Attributes:
        num_frames: Frames T per clip; 1 where a clip has one answer.
        glance: Milliseconds of f_G per frame (per clip where ``num_frames`` is 1).
        policy: Of the policy, likewise.
        focus: Of f_L on one patch (on all patches of the clip).
        head: Of the classifiers, likewise.
        unpriced: ``name (type)`` of modules that no latency model prices. Cropping,
            resizing, temporal shift and additions are functions, no modules: they are
            not priced either.
    """

    num_frames: int
    glance: float
    policy: float
    focus: float
    head: float
    unpriced: list[str] = field(default_factory=list)

    def of_frames(self, frames: int, focused: int) -> float:
        """Milliseconds of ``frames`` frames, ``focused`` of them looked at closely."""
        return frames * (self.glance + self.policy + self.head) + focused * self.focus

    @property
    def ms(self) -> list[float]:
        """Milliseconds up to each frame, all of them looked at closely."""
        return [self.of_frames(t, t) for t in range(1, self.num_frames + 1)]

    @property
    def total(self) -> float:
        """Milliseconds of the whole clip."""
        return self.of_frames(self.num_frames, self.num_frames)


def clip_latencies(model: nn.Module, latency_model: LatencyModel) -> ClipLatencies:
    """Predict the times of an ``AdaFocus`` or an ``AdaFocusTSM``.

    Args:
        model: The recognizer; it is not changed.
        latency_model: Of the device.

    Raises:
        ConfigError: A CPU's profile that was not calibrated for the convolutions, such
            as those by channel of a MobileNet.
    """
    two_streams = hasattr(model, 'num_glance')
    size = model.frame_size
    if two_streams:
        parts = two_stream_parts(model, size, model.num_glance, model.num_focus)
    else:
        parts = clip_parts(model, size)
    unpriced: list[str] = []
    layers = {name: _layers(part, unpriced) for name, part in parts.items()}
    flat = tuple(layer for group in layers.values() for layer in group)
    latency_model = latency_model.for_network(NetworkSpec('', (), flat))
    scale = 1e3 / latency_model.batch
    ms = {
        name: scale
        * parts[name][2]
        * sum(latency_model.layer(layer).latency for layer in group)
        for name, group in layers.items()
    }
    frames = 1 if two_streams else model.num_segments
    return ClipLatencies(frames, **ms, unpriced=list(dict.fromkeys(unpriced)))


def _layers(part: tuple, unpriced: list[str]) -> list[LayerSpec]:
    """What runs in a part, once."""
    module, calls, _ = part
    tracer = Tracer(module)
    try:
        with torch.device('meta'), torch.no_grad():
            for call in calls:
                call()
    finally:
        tracer.close()
    unpriced += tracer.trace.unpriced
    return [p for p in tracer.trace.parts if isinstance(p, LayerSpec)]
