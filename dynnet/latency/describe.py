"""Describe a built model to the latency models: its blocks and layers, in order."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from dynnet.utils.errors import ConfigError

from .network import BlockSpec, LayerSpec, NetworkSpec

_FREE = (nn.Identity, nn.Dropout, nn.Flatten)
_POINTWISE = (_BatchNorm, nn.ReLU, nn.ReLU6, nn.Sigmoid, nn.SiLU)


@dataclass
class Trace:
    """What ran in a forward pass, in order.

    Attributes:
        parts: Blocks with gates, and layers outside of them.
        unpriced: ``name (type)`` of modules that no latency model prices.
    """

    parts: list[BlockSpec | LayerSpec] = field(default_factory=list)
    unpriced: list[str] = field(default_factory=list)


def _size(x: Tensor) -> tuple[int, int]:
    return tuple(x.shape[2:]) if x.dim() == 4 else (1, 1)


def describe_layer(
    name: str, module: nn.Module, x: Tensor, y: Tensor
) -> LayerSpec | None:
    """Describe a layer by its input and output.

    Args:
        name: Its name.
        module: The layer.
        x: Input.
        y: Output.

    Returns:
        The description, or None where no latency model prices the layer.
    """
    common = (x.shape[1], y.shape[1], _size(x), _size(y))
    if isinstance(module, nn.Conv2d):
        geometry = module.kernel_size[0], module.stride[0], module.groups
        return LayerSpec('conv', *common, *geometry, name)
    if isinstance(module, nn.Linear):
        return LayerSpec('linear', module.in_features, module.out_features, name=name)
    if isinstance(module, (nn.MaxPool2d, nn.AvgPool2d)):
        kind = 'max_pool' if isinstance(module, nn.MaxPool2d) else 'avg_pool'
        kernel, stride = (
            v if isinstance(v, int) else v[0]
            for v in (module.kernel_size, module.stride)
        )
        return LayerSpec(kind, *common, kernel, stride, name=name)
    if isinstance(module, nn.AdaptiveAvgPool2d):
        return LayerSpec('avg_pool', *common, name=name)
    if isinstance(module, _POINTWISE):
        return LayerSpec('pointwise', *common, name=name)
    return None


def describe_block(name: str, stage: int, block: nn.Module, x: Tensor) -> BlockSpec:
    """Describe a gated bottleneck.

    Args:
        name: Its name.
        stage: Its stage, from 0.
        block: A :class:`~dynnet.models.layers.gated_bottleneck.GatedBottleneck`.
        x: Its input.

    Raises:
        ConfigError: A block that no latency model describes (a basic block).
    """
    from dynnet.models.gates import LayerGate

    if not hasattr(block, 'conv3'):
        raise ConfigError(
            f'{name} is a {type(block).__name__}: latency is predicted for bottlenecks'
        )
    stride = block.conv2.stride[0]
    height, width = (-(-size // stride) for size in x.shape[2:])
    se = getattr(block, 'se', None)
    squeeze = 0
    if se is not None:
        squeeze = next(m for m in se.modules() if isinstance(m, nn.Conv2d)).out_channels
    layer_gate = isinstance(block.gate, LayerGate)
    granularity = max(height, width) if layer_gate else block.gate.granularity
    return BlockSpec(
        name,
        stage,
        block.conv1.in_channels,
        block.conv2.out_channels,
        block.conv3.out_channels,
        (height, width),
        stride,
        block.conv2.groups,
        block.downsample is not None,
        squeeze,
        granularity,
        'layer' if layer_gate else 'spatial',
    )


def describe_gru(name: str, module: nn.GRU, x: Tensor) -> list[LayerSpec]:
    """Describe a GRU over a sequence: two linear layers a step; the gates are free.

    Args:
        name: Its name.
        module: The layer, of one direction.
        x: Its input, (T, N, D), or (N, T, D) where ``batch_first``.
    """
    steps = x.shape[1 if module.batch_first else 0]
    width, layers = 3 * module.hidden_size, []
    for k in range(module.num_layers):
        inputs = module.input_size if k == 0 else module.hidden_size
        layers += [
            LayerSpec('linear', inputs, width, name=f'{name} input'),
            LayerSpec('linear', module.hidden_size, width, name=f'{name} memory'),
        ]
    return steps * layers


class Tracer:
    """Notes the layers and gated blocks of a model while it runs.

    Args:
        model: The model.
    """

    def __init__(self, model: nn.Module) -> None:
        from dynnet.models.gates import GatedBlock

        self.trace = Trace()
        self._handles = []
        gated = {name for name, m in model.named_modules() if isinstance(m, GatedBlock)}
        stages = sorted({name.rpartition('.')[0] for name in gated})
        for name, module in model.named_modules():
            if name in gated:
                stage = stages.index(name.rpartition('.')[0])
                self._handles.append(
                    module.register_forward_hook(self._block_hook(name, stage))
                )
            elif any(name.startswith(f'{block}.') for block in gated):
                continue
            elif next(module.children(), None) is None or module._parameters:
                self._handles.append(
                    module.register_forward_hook(self._layer_hook(name))
                )

    def _block_hook(self, name: str, stage: int):
        def hook(block: nn.Module, inputs: tuple, output: Tensor) -> None:
            self.trace.parts.append(describe_block(name, stage, block, inputs[0]))

        return hook

    def _layer_hook(self, name: str):
        def hook(module: nn.Module, inputs: tuple, output: Tensor) -> None:
            if isinstance(module, _FREE):
                return
            layer = None
            if isinstance(module, nn.GRU) and not module.bidirectional:
                self.trace.parts += describe_gru(name, module, inputs[0])
                return
            if isinstance(output, Tensor):
                layer = describe_layer(name, module, inputs[0], output)
            if layer is not None:
                self.trace.parts.append(layer)
            else:
                self.trace.unpriced.append(f'{name} ({type(module).__name__})')

        return hook

    def close(self) -> None:
        """Leave the model as it was."""
        for handle in self._handles:
            handle.remove()


def describe_model(
    model: nn.Module, input_shape: Sequence[int], name: str = 'model'
) -> NetworkSpec:
    """Describe a model by running it once.

    Args:
        model: Called with (1, C, H, W); run in eval mode, with gradients on, so that
            the modules themselves run and not their folded forms.
        input_shape: (C, H, W).
        name: What to call it.

    Returns:
        Gated blocks as blocks; the layers before them are the stem, those after (or
        all, where there is no gate) the head.

    Raises:
        ConfigError: Layers lie between gated blocks.
    """
    modes = {module: module.training for module in model.modules()}
    like = next(model.parameters())
    x = torch.zeros(1, *input_shape, dtype=like.dtype, device=like.device)
    tracer = Tracer(model)
    model.eval()
    try:
        with torch.enable_grad():
            model(x)
    finally:
        tracer.close()
        for module, mode in modes.items():
            module.training = mode
    parts = tracer.trace.parts
    at = [i for i, part in enumerate(parts) if isinstance(part, BlockSpec)]
    if not at:
        return NetworkSpec(name, (), head=tuple(parts))
    blocks = parts[at[0] : at[-1] + 1]
    if len(blocks) != len(at):
        raise ConfigError(f'{name}: there are layers between its gated blocks')
    return NetworkSpec(
        name, tuple(blocks), tuple(parts[: at[0]]), tuple(parts[at[-1] + 1 :])
    )


def describe_exits(model: nn.Module, input_shape: Sequence[int]) -> list[Trace]:
    """Describe what each exit of a multi-exit classifier adds.

    Args:
        model: Has ``backbone`` and ``head`` of a multi-exit classifier.
        input_shape: (C, H, W) of the picture.

    Returns:
        One trace for each exit: what runs after the exit before it.
    """
    modes = {module: module.training for module in model.modules()}
    like = next(model.parameters())
    x = torch.zeros(1, *input_shape, dtype=like.dtype, device=like.device)
    tracer = Tracer(model)
    model.eval()
    traces = []
    try:
        with torch.enable_grad():
            for k, feat in enumerate(model.backbone.iter_exits(x)):
                model.head.forward_exit(k, feat)
                traces.append(tracer.trace)
                tracer.trace = Trace()
    finally:
        tracer.close()
        for module, mode in modes.items():
            module.training = mode
    return traces
