"""What every exit costs, counted module by module.

Two counts stand side by side. **MACs** are multiply-accumulates of convolutions and
linear layers. **Published FLOPs** follow the counter that MSDNet, RANet and L2W-DEN
report: it adds one per ReLU element, k * k per pooled output and the linear bias, and
takes BN, concatenation and resizing for free.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

# MACs and published FLOPs of one call.
Count = tuple[int, int]


@dataclass
class ExitCosts:
    """Costs of one picture, cumulative over the exits in the order they are run.

    An exit's cost includes the classifiers of all earlier exits: a sample that leaves
    late has been through them.

    Attributes:
        macs: MACs up to each exit.
        published_flops: The same by the published counter.
        params: Parameters used up to each exit.
        head_macs: MACs of each exit's own classifier, not cumulative.
        uncounted: ``name (type)`` of modules that ran and have no counting rule.
        input_shape: (C, H, W) it was counted at.
    """

    macs: list[float] = field(default_factory=list)
    published_flops: list[float] = field(default_factory=list)
    params: list[int] = field(default_factory=list)
    head_macs: list[float] = field(default_factory=list)
    uncounted: list[str] = field(default_factory=list)
    input_shape: tuple[int, ...] = ()


def _conv(module: nn.Conv2d, x: Tensor, y: Tensor) -> Count:
    macs = y[0].numel() * module.weight[0].numel()
    return macs, macs


def _linear(module: nn.Linear, x: Tensor, y: Tensor) -> Count:
    macs = module.weight.numel() * (x[0].numel() // module.in_features)
    return macs, macs + (0 if module.bias is None else module.bias.numel())


def _gru(module: nn.GRU, x: Tensor, y: Tensor) -> Count:
    steps = x.numel() // x.shape[-1]  # of one sample, in either layout
    macs = steps * sum(w.numel() for n, w in module.named_parameters() if 'weight' in n)
    return macs, macs


def _relu(module: nn.Module, x: Tensor, y: Tensor) -> Count:
    return 0, y[0].numel()


def _pool(module: nn.Module, x: Tensor, y: Tensor) -> Count:
    size = module.kernel_size
    area = size * size if isinstance(size, int) else size[0] * size[1]
    return 0, y[0].numel() * area


def _adaptive_pool(module: nn.Module, x: Tensor, y: Tensor) -> Count:
    return 0, x[0].numel()  # every input pixel is read once


def _free(module: nn.Module, x: Tensor, y: Tensor) -> Count:
    return 0, 0


Rules = tuple[tuple[tuple, Callable[[nn.Module, Tensor, Tensor], Count]], ...]

RULES: Rules = (
    ((nn.Conv2d,), _conv),
    ((nn.Linear,), _linear),
    ((nn.GRU,), _gru),
    ((nn.ReLU, nn.ReLU6), _relu),
    ((nn.AvgPool2d, nn.MaxPool2d), _pool),
    ((nn.AdaptiveAvgPool2d,), _adaptive_pool),
    ((_BatchNorm, nn.LayerNorm, nn.Identity, nn.Dropout, nn.Flatten), _free),
)


class _Counter:
    """Forward hooks on the leaf modules of a model and on those that own parameters.

    The latter compute something themselves: nn.MultiheadAttention has a child that it
    never calls.
    """

    def __init__(
        self, model: nn.Module, rules: Rules = RULES, skip: tuple[type, ...] = ()
    ) -> None:
        self.rules = rules
        self.macs = self.flops = self.params = 0
        self.uncounted: dict[str, None] = {}
        self._seen: set = set()
        self._handles = []
        left_out = {
            part for m in model.modules() if isinstance(m, skip) for part in m.modules()
        }
        for name, module in model.named_modules():
            if module in left_out:
                continue
            is_leaf = next(module.children(), None) is None
            if is_leaf or module._parameters:
                hook = self._hook(name)
                self._handles.append(module.register_forward_hook(hook))

    def _hook(self, name: str) -> Callable:
        def hook(module: nn.Module, inputs: tuple, output: Tensor) -> None:
            if id(module) not in self._seen:
                self._seen.add(id(module))
                self.params += sum(p.numel() for p in module.parameters(recurse=False))
            if callable(getattr(module, 'count_macs', None)):  # it knows better
                macs = module.count_macs(output)
                self.macs += macs
                self.flops += macs
                return
            for kinds, rule in self.rules:
                if isinstance(module, kinds):
                    macs, flops = rule(module, inputs[0], output)
                    self.macs += macs
                    self.flops += flops
                    return
            self.uncounted[f'{name} ({type(module).__name__})'] = None

        return hook

    def close(self) -> None:
        for handle in self._handles:
            handle.remove()


def count_macs(model: nn.Module, call: Callable[[], object]) -> tuple[int, list[str]]:
    """Count what one call costs.

    Args:
        model: Its modules are watched.
        call: Runs (a part of) it on one sample: of a batch, one is counted.

    Returns:
        MACs, and ``name (type)`` of modules that ran and have no counting rule.
    """
    counter = _Counter(model)
    try:
        with torch.no_grad():
            call()
    finally:
        counter.close()
    return counter.macs, list(counter.uncounted)


def count_exit_costs(model: nn.Module, input_shape: tuple[int, int, int]) -> ExitCosts:
    """Count what every exit of a multi-exit classifier costs.

    Args:
        model: Has ``backbone`` (a ``MultiExitBackbone``) and ``head`` (a
            ``MultiExitHead``). It is run once, in eval mode, on one picture.
        input_shape: (C, H, W) of the picture.

    Returns:
        The costs per picture.
    """
    costs = ExitCosts(input_shape=tuple(input_shape))
    with _counting(model, input_shape) as (counter, x):
        for k, feat in enumerate(model.backbone.iter_exits(x)):
            before = counter.macs
            model.head.forward_exit(k, feat)
            costs.macs.append(float(counter.macs))
            costs.published_flops.append(float(counter.flops))
            costs.params.append(counter.params)
            costs.head_macs.append(float(counter.macs - before))
    costs.uncounted = list(counter.uncounted)
    return costs


def count_forward(
    model: nn.Module,
    input_shape: tuple[int, int, int],
    rules: Rules = RULES,
    skip: tuple[type, ...] = (),
) -> tuple[int, int, list[str]]:
    """Count what a network costs when everything is computed.

    Args:
        model: Run once, in eval mode, on one picture.
        input_shape: (C, H, W) of the picture.
        rules: Which modules cost what.
        skip: Types of modules that are left out, with all that they contain.

    Returns:
        MACs, FLOPs by the rules, and ``name (type)`` of modules without a rule.
    """
    with _counting(model, input_shape, rules, skip) as (counter, x):
        model(x)
    return counter.macs, counter.flops, list(counter.uncounted)


@contextmanager
def _counting(
    model: nn.Module, input_shape: tuple[int, ...], *settings
) -> Iterator[tuple[_Counter, Tensor]]:
    """Count inside the ``with``, in eval mode, on the picture that is given."""
    modes = {module: module.training for module in model.modules()}
    like = next(model.parameters())
    x = torch.zeros(1, *input_shape, dtype=like.dtype, device=like.device)
    counter = _Counter(model, *settings)
    model.eval()
    try:
        # With gradients on, the modules themselves run and not their folded forms.
        with torch.enable_grad():
            yield counter, x
    finally:
        counter.close()
        for module, mode in modes.items():  # parts may have modes of their own
            module.training = mode
