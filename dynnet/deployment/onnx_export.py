"""One ONNX graph per exit: what runs between an exit and the one before it."""

import copy
import io
import json
import math
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dynnet.utils.atomic import write_atomic
from dynnet.utils.errors import ConfigError

from .onnx_early_exit import FORMAT, MANIFEST, VERSION


def export_exits(
    model: nn.Module,
    folder: str | os.PathLike,
    input_shape: tuple[int, int, int],
    dynamic_batch: bool = False,
    opset: int = 18,
) -> dict[str, Any]:
    """Write a multi-exit classifier as one graph per exit, to be left early.

    Graph k takes the tensors that exit k needs from what the graphs before it put out,
    and returns the exit's logits, its criterion's score (larger means leave) and the
    tensors that later graphs need. ``manifest.json`` says which is which, and holds the
    thresholds, the costs and the classes. :class:`OnnxEarlyExit` runs them.

    Args:
        model: A ``MultiExitClassifier``. Its thresholds, if it has any, go along.
        folder: Where the files go; made if it is missing.
        input_shape: (C, H, W) of the picture after the data preprocessor. Other sizes
            need another export.
        dynamic_batch: Take any number of pictures at once, not one.
        opset: Version of the ONNX operators.

    Returns:
        The content of ``manifest.json``.

    Raises:
        ConfigError: The model has no exits.
        ImportError: onnx is not installed.
    """
    if not hasattr(getattr(model, 'backbone', None), 'step'):
        raise ConfigError(
            f'{type(model).__name__} cannot be exported exit by exit: its backbone has '
            'no step()'
        )
    was_training = model.training
    model.eval()
    try:
        segments = _split(model, input_shape)
        graphs = _export(segments, dynamic_batch, opset)
    finally:
        model.train(was_training)
    costs = model.costs
    if costs is None or costs.input_shape != tuple(input_shape):
        costs = model.measure_costs(tuple(input_shape))
    manifest = dict(
        format=FORMAT,
        version=VERSION,
        input_shape=list(input_shape),
        dynamic_batch=dynamic_batch,
        num_classes=segments[0].results[0].size(1),
        classes=_classes(model),
        criterion=model.criterion.config,
        thresholds=_to_json(model.thresholds),
        exit_macs=costs.macs,
        segments=[],
    )
    folder = Path(folder)
    for segment, (graph, inputs) in zip(segments, graphs):
        name = f'exit{segment.index + 1}.onnx'
        write_atomic(folder / name, graph)
        outputs = segment.outputs
        manifest['segments'].append(
            dict(
                file=name,
                inputs=inputs,
                outputs=list(outputs),
                shapes={k: list(v.shape[1:]) for k, v in outputs.items()},
            )
        )
    text = json.dumps(manifest, indent=2, allow_nan=False) + '\n'
    write_atomic(folder / MANIFEST, text.encode())
    return manifest


class _Segment(nn.Module):
    """What runs from one exit to the next, as a function of tensors.

    Args:
        model: The classifier.
        index: Exit, from 0.
        state: Backbone state and criterion memory after the exit before; None at the
            first exit.
        given: The tensors of ``state`` by name; the picture at the first exit.
    """

    def __init__(
        self, model: nn.Module, index: int, state: Any, given: dict[str, Tensor]
    ) -> None:
        super().__init__()
        self.model = model
        self.index = index
        self.state = state
        self.given = given
        # After a run: the results, the state with the names of its tensors, and which
        # of those (by position) the graph puts out.
        self.results: tuple[Tensor, ...] = ()
        self.named: dict[str, Tensor] = {}
        self.kept: list[int] = []

    @property
    def is_last(self) -> bool:
        return self.index == self.model.num_exits - 1

    @property
    def outputs(self) -> dict[str, Tensor]:
        """What the graph puts out, by name."""
        names = ['logits'] if self.is_last else ['logits', 'score']
        named = list(self.named.items())
        return dict(zip(names, self.results)) | dict(named[i] for i in self.kept)

    def run(self, tensors: list[Tensor]) -> tuple[tuple[Tensor, ...], Any]:
        """Run on ``tensors``, which stand for those of the state.

        Returns:
            Logits (N, C) and score (N,), and the state after.
        """
        if self.index == 0:
            state, memory = self.model.backbone.init_state(tensors[0]), None
        else:
            # A copy of the state's structure around other tensors; the copy alone is
            # spent by the step.
            swap = {id(old): new for old, new in zip(self.given.values(), tensors)}
            state, memory = copy.deepcopy(self.state, swap)
        feat, state = self.model.backbone.step(state)
        logits = self.model.head.forward_exit(self.index, feat)
        if self.is_last:
            return (logits,), None
        score, memory = self.model.criterion(logits, memory)
        return (logits, score), (state, memory)

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        results, state = self.run(list(tensors))
        after = state_tensors(state)
        return (*results, *(after[i] for i in self.kept))


def state_tensors(state: Any) -> list[Tensor]:
    """All tensors of a backbone's state, each once, in a fixed order.

    Whatever a state is made of is searched: lists, dicts, dataclasses, feature stacks.
    """
    return list({id(tensor): tensor for tensor in _walk(state)}.values())


def _walk(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        if value.dim():  # while a graph is traced, sizes are tensors too: numbers
            yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _walk(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _walk(item)
    elif hasattr(value, '__dict__') and not isinstance(value, nn.Module):
        yield from _walk(vars(value))


def _split(model: nn.Module, input_shape: tuple[int, int, int]) -> list[_Segment]:
    """Run the model once, exit by exit, and name what passes between."""
    like = next(model.parameters())
    # Two pictures: a batch of one hides mistakes along the batch.
    given = {'x': torch.randn(2, *input_shape, dtype=like.dtype, device=like.device)}
    state, segments = None, []
    # With gradients on the modules run plainly, not in their folded forms.
    with torch.enable_grad():
        for index in range(model.num_exits):
            segment = _Segment(model, index, state, given)
            segment.results, state = segment.run(list(given.values()))
            known = {id(tensor): name for name, tensor in given.items()}
            for i, tensor in enumerate(state_tensors(state)):
                name = known.get(id(tensor), f'exit{index + 1}_state{i}')
                segment.named[name] = tensor
            given = segment.named
            segments.append(segment)
    return segments


def _export(
    segments: list[_Segment], dynamic_batch: bool, opset: int
) -> list[tuple[bytes, list[str]]]:
    """Export from the last exit to the first: a graph puts out what later ones read.

    Returns:
        Graph and names of its inputs, per segment.
    """
    try:
        import onnx
    except ImportError:
        raise ImportError('exporting to ONNX needs onnx: pip install onnx') from None
    graphs, read_later = [], set()
    for segment in reversed(segments):
        segment.kept = [
            i
            for i, name in enumerate(segment.named)
            if name in read_later and name not in segment.given
        ]
        graph = onnx.load_from_string(_to_onnx(segment, dynamic_batch, opset))
        # Tensors that it does not read are no inputs of the graph any more.
        inputs = [value.name for value in graph.graph.input]
        read_later.update(inputs)
        graphs.append((graph.SerializeToString(), inputs))
    return graphs[::-1]


def _to_onnx(segment: _Segment, dynamic_batch: bool, opset: int) -> bytes:
    inputs, outputs = list(segment.given), list(segment.outputs)
    tensors = [tensor.detach() for tensor in segment.given.values()]
    dynamic = {name: {0: 'batch'} for name in inputs + outputs}
    file = io.BytesIO()
    with _quiet_exporter(opset):
        try:
            torch.onnx.export(
                segment,
                tuple(t if dynamic_batch else t[:1] for t in tensors),
                file,
                input_names=inputs,
                output_names=outputs,
                dynamic_axes=dynamic if dynamic_batch else None,
                opset_version=opset,
                dynamo=False,
            )
        except torch.onnx.errors.UnsupportedOperatorError as error:
            raise ConfigError(f'exit {segment.index + 1}: {error}') from error
    return file.getvalue()


@contextmanager
def _quiet_exporter(opset: int) -> Iterator[None]:
    """torch's exporter by tracing, without its warnings.

    The newer one takes a hundred times as long for these graphs and keeps inputs that
    nothing reads; the older one calls itself deprecated. It also warns about
    comparisons of picture sizes, which are fixed here.
    """
    operator = 'aten::isneginf'  # of the entropy criterion; the exporter lacks it
    torch.onnx.register_custom_op_symbolic(operator, _is_negative_infinity, opset)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore', DeprecationWarning)
            warnings.simplefilter('ignore', torch.jit.TracerWarning)
            yield
    finally:
        torch.onnx.unregister_custom_op_symbolic(operator, opset)


def _is_negative_infinity(graph: Any, x: Any) -> Any:
    limit = graph.op('Constant', value_t=torch.tensor(-math.inf))
    return graph.op('Equal', x, limit)


def _classes(model: nn.Module) -> list[str] | None:
    classes = getattr(model, 'dataset_meta', {}).get('classes')
    return None if classes is None else [str(name) for name in classes]


def _to_json(thresholds: list[float] | None) -> list[float | None] | None:
    """Thresholds as JSON has them: +inf, nobody leaves, becomes null."""
    if thresholds is None:
        return None
    return [None if math.isinf(t) else t for t in thresholds]
