"""ARC: rotation, routing, convolution, and backbones from a published file on."""

import math
import tempfile
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope

from dynnet.models.layers import AdaptiveRotatedConv2d, RotationRouting
from dynnet.ops import rotate_and_mix, rotation_matrix
from dynnet.registry import MODELS
from dynnet.utils.arc_conversion import arc_keys, convert_arc
from dynnet.utils.checkpoint import load_checkpoint

from ..fill import fill_input
from . import Case, Result, adapter

OUTPUT, GRADIENT = 1e-5, 1e-4  # of the largest value, as the spec suggests


def close(ours, expected: np.ndarray, tolerance: float) -> tuple:
    """Compare by the largest error over the largest value."""
    return ours, 0, tolerance * max(float(np.abs(expected).max()), 1e-12)


class Comparison(Result):
    """Collects arrays with tolerances relative to the stored ones."""

    def __init__(self, case: Case) -> None:
        super().__init__()
        self.case = case

    def add(self, name: str, ours, tolerance: float) -> None:
        ours = ours.detach() if hasattr(ours, 'detach') else ours
        self.arrays[name] = close(ours, self.case._arrays[name], tolerance)


def named_loss(outputs: dict[str, torch.Tensor]) -> torch.Tensor:
    """The sum of every output times the noise of its name."""
    total = 0
    for name, value in outputs.items():
        total = total + (value * torch.from_numpy(fill_input(name, value.shape))).sum()
    return total


def published(case: Case) -> dict[str, torch.Tensor]:
    weights = {}
    for name, value in case.weights().items():
        if case.meta.get('post_fill') and value.ndim == 5:
            value = value * np.float32(math.sqrt(value.shape[1]))
        weights[name] = torch.from_numpy(np.asarray(value))
    return weights


@adapter('rotation_matrix')
def matrix(case: Case) -> Result:
    thetas = torch.from_numpy(case.feed('thetas'))
    result = Comparison(case)
    result.add('output', rotation_matrix(thetas), 1e-6)
    angles = torch.tensor(case.meta['input']['angles_rad'], dtype=torch.float64)
    result.add('output64', rotation_matrix(angles), 1e-13)
    return result


@adapter('rotate_and_mix')
def mix(case: Case) -> Result:
    name, kwargs = case.meta['case'], case.meta['kwargs']
    weight = torch.from_numpy(case.input()).requires_grad_()
    thetas = torch.from_numpy(case.feed('thetas')).requires_grad_()
    if case.has('lambdas'):
        lambdas = torch.from_numpy(case.feed('lambdas')).requires_grad_()
    else:
        lambdas = torch.ones(kwargs['batch'], kwargs['kernel_number']).requires_grad_()
    output = rotate_and_mix(weight, thetas, lambdas).flatten(0, 1)
    named_loss({f'{name}:grad': output}).backward()
    result = Comparison(case)
    result.add('output', output, OUTPUT)
    for label, leaf in (('weight', weight), ('thetas', thetas), ('lambdas', lambdas)):
        result.add(f'grad_{label}', leaf.grad, GRADIENT)
    return result


def load(module: torch.nn.Module, case: Case) -> torch.nn.Module:
    module.load_state_dict(arc_keys(published(case)), strict=True)
    return module.eval()


def add_gradients(result: Comparison, module: torch.nn.Module, x: torch.Tensor):
    result.add('grad_input', x.grad, GRADIENT)
    ours = dict(module.named_parameters())
    for name, _ in result.case.meta['keys']:
        renamed = next(iter(arc_keys({name: torch.empty(0)})))
        result.add(f'grad:{name}', ours[renamed].grad, GRADIENT)


@adapter('RountingFunction (official spelling)')
def routing(case: Case) -> Result:
    name, kwargs = case.meta['case'], case.meta['kwargs']
    module = RotationRouting(
        kwargs['in_channels'],
        kwargs['kernel_number'],
        kwargs['dropout_rate'],
        kwargs['proportion'],
    )
    load(module, case)
    x = torch.from_numpy(case.input()).requires_grad_()
    alphas, angles = module(x)
    named_loss(
        {f'{name}:grad:alphas': alphas, f'{name}:grad:angles': angles}
    ).backward()
    result = Comparison(case)
    result.add('alphas', alphas, OUTPUT)
    result.add('angles', angles, OUTPUT)
    add_gradients(result, module, x)
    return result


@adapter('AdaptiveRotatedConv2d')
def conv(case: Case) -> Result:
    kwargs = {k: v for k, v in case.meta['kwargs'].items() if k != 'routing'}
    module = load(AdaptiveRotatedConv2d(**kwargs), case)
    x = torch.from_numpy(case.input()).requires_grad_()
    output = module(x)
    named_loss({case.meta['case'] + ':grad': output}).backward()
    with torch.inference_mode():
        torch.testing.assert_close(module(x), output, rtol=0, atol=1e-5)
        alphas, angles = module.routing(x)
    result = Comparison(case)
    result.add('output', output, OUTPUT)
    result.add('alphas', alphas, OUTPUT)
    result.add('angles', angles, OUTPUT)
    add_gradients(result, module, x)
    return result


@adapter('ARCResNet')
def resnet(case: Case) -> Result:
    init_default_scope('mmpretrain')
    backbone = dict(case.meta['kwargs'], type='dynnet.ARCResNet')
    with tempfile.TemporaryDirectory() as folder:
        source, target, config = (Path(folder, n) for n in ('a.pth', 'b.pth', 'c.py'))
        torch.save(published(case), source)
        Config(dict(model=dict(backbone=backbone))).dump(config)
        convert_arc(source, target, config)
        weights = load_checkpoint(target)['state_dict']
    net = MODELS.build(backbone)
    weights = {name.removeprefix('backbone.'): v for name, v in weights.items()}
    net.load_state_dict(weights, strict=True)
    net.eval()

    decisions = {}
    for name, module in net.named_modules():
        if isinstance(module, RotationRouting):
            module.register_forward_hook(
                lambda m, args, output, name=name: decisions.update({name: output})
            )
    result = Comparison(case)
    x = torch.from_numpy(case.input())
    with_gradients = case.has('grad_input')
    with torch.set_grad_enabled(with_gradients):
        if with_gradients:
            net.requires_grad_(True)
            x.requires_grad_()
        stages = net(x)
    for i, stage in enumerate(stages):
        result.add(f'stage{i}', stage, OUTPUT)
    names = [n.replace('rounting_func', 'routing') for n in case.meta['routing_names']]
    assert list(decisions) == names
    for i, label in enumerate(('alphas', 'angles')):
        ours = torch.stack([decisions[name][i] for name in names])
        result.add(label, ours, OUTPUT)
    if with_gradients:
        name = case.meta['case']
        named_loss({f'{name}:grad:{i}': s for i, s in enumerate(stages)}).backward()
        result.add('grad_input', x.grad, GRADIENT)
        ours = dict(net.named_parameters())
        stats = []
        for label in case.meta['grad_names']:
            grad = ours[next(iter(arc_keys({label: x})))].grad.double()
            stats.append([grad.sum().item(), grad.norm().item()])
        # A sum of gradients is compared on the scale of their norm.
        expected = case.feed('grad_stats')
        np.testing.assert_allclose(
            np.array(stats) / expected[:, 1:], expected / expected[:, 1:], atol=1e-3
        )
        assert np.all(np.abs(np.array(stats)[:, 1] / expected[:, 1] - 1) < GRADIENT)
    return result
