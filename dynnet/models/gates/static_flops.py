"""What the dense twin of a gated network costs by LASNet's counter."""

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from dynnet.utils.cost import Rules, count_forward

from .base import BaseGate


def _conv(module: nn.Conv2d, x: Tensor, y: Tensor) -> tuple[int, int]:
    macs = y[0].numel() * module.weight[0].numel()
    return macs, macs


def _linear(module: nn.Linear, x: Tensor, y: Tensor) -> tuple[int, int]:
    macs = module.weight.numel() * (x[0].numel() // module.in_features)
    return macs, macs + (0 if module.bias is None else module.bias.numel())


def _per_output(times: int):
    def rule(module: nn.Module, x: Tensor, y: Tensor) -> tuple[int, int]:
        return 0, times * y[0].numel()

    return rule


def _per_input(module: nn.Module, x: Tensor, y: Tensor) -> tuple[int, int]:
    return 0, x[0].numel()


_FREE = (_BatchNorm, nn.MaxPool2d, nn.AvgPool2d, nn.Identity, nn.Dropout, nn.Flatten)

# Unlike the dynamic count, this one charges ReLUs; pooling and BN are free.
LASNET_RULES: Rules = (
    ((nn.Conv2d,), _conv),
    ((nn.Linear,), _linear),
    ((nn.ReLU,), _per_output(1)),
    ((nn.Sigmoid,), _per_output(2)),
    ((nn.AdaptiveAvgPool2d,), _per_input),
    (_FREE, _per_output(0)),
)


def count_full_flops(model: nn.Module, input_shape: tuple[int, int, int]) -> int:
    """Count the FLOPs that LASNet's classification loss divides by.

    Args:
        model: A classifier; its gates are left out.
        input_shape: (C, H, W) of a picture.

    Returns:
        FLOPs per picture of the network without gates.
    """
    return count_forward(model, input_shape, LASNET_RULES, (BaseGate,))[1]
