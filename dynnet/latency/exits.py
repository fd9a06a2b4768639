"""Milliseconds of early exits: the static layers up to each of them."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from torch import nn

from .describe import describe_exits
from .estimate import LatencyModel
from .network import LayerSpec, NetworkSpec


@dataclass(frozen=True)
class ExitLatencies:
    """Predicted times of a multi-exit classifier, cumulative.

    Attributes:
        ms: Milliseconds of one picture up to each exit.
        unpriced: ``name (type)`` of modules that no latency model prices. Resizing and
            concatenation are functions, no modules: they are not priced either.
    """

    ms: list[float] = field(default_factory=list)
    unpriced: list[str] = field(default_factory=list)


def exit_latencies(
    model: nn.Module, input_shape: Sequence[int], latency_model: LatencyModel
) -> ExitLatencies:
    """Predict the times of a multi-exit classifier's exits.

    Args:
        model: The classifier.
        input_shape: (C, H, W) of the picture.
        latency_model: Of the device.
    """
    traces = describe_exits(model, input_shape)
    layers = [part for trace in traces for part in trace.parts]
    latency_model = latency_model.for_network(NetworkSpec('', (), tuple(layers)))
    times, unpriced, total = [], [], 0.0
    for trace in traces:
        for part in trace.parts:
            if isinstance(part, LayerSpec):
                total += latency_model.layer(part).latency
        times.append(1e3 * total / latency_model.batch)
        unpriced += trace.unpriced
    return ExitLatencies(times, unpriced)
