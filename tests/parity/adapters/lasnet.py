"""LASNet: the gate alone, and blocks; what networks compare, too."""

import numpy as np
import torch
from torch import nn

from dynnet.models.gates import GateMeter, SpatialGate, measure_gates
from dynnet.utils.lasnet_conversion import lasnet_keys

from ..fill import fill_input
from . import Case, Result, adapter


def margin(logits: torch.Tensor) -> float:
    keep, skip = logits.chunk(2, 1)
    return (keep - skip).abs().min().item()


# --- the gate alone


@adapter('las_resnet.Masker')
def masker(case: Case) -> Result:
    kwargs = case.meta['kwargs']
    gate = SpatialGate(
        kwargs['in_channels'], kwargs['S'], groups=kwargs['mask_channel_group']
    )
    weights = {
        k.replace('conv2.', 'conv.'): torch.from_numpy(v)
        for k, v in case.weights().items()
    }
    gate.load_state_dict(weights)
    x = torch.from_numpy(case.input())
    if case.has('mask_tau1x0'):
        return masker_train(case, gate.train(), x)
    gate.eval()
    stride, size = kwargs['dilate_stride'], kwargs['feature_size']
    with torch.no_grad():
        logits, out = gate.logits(x, stride), gate(x, stride)
    arrays = dict(
        logits=(logits, 0, 1e-5),
        mask=(out.mask.byte(), 0, 0),
        sparsity=(out.density, 0, 1e-6),
        sparsity_dil=(out.dilated_density, 0, 1e-6),
        flops=(np.int64(gate.macs(size, size)), 0, 0),
    )
    if case.has('mask_dil'):
        arrays['mask_dil'] = (
            out.dilated.byte().expand(-1, out.mask.size(1), -1, -1),
            0,
            0,
        )
    return Result(arrays=arrays)


def masker_train(case: Case, gate: SpatialGate, x: torch.Tensor) -> Result:
    weight = torch.from_numpy(fill_input('masker_train:w', (2, 1, 14, 14)))
    arrays = {}
    for tau in (5.0, 1.0, 0.1):
        gate.tau = tau
        gate.zero_grad()
        torch.manual_seed(0)
        out = gate(x, case.meta['kwargs']['dilate_stride'])
        ((out.mask * weight).sum() + 10 * out.density).backward()
        key = f'tau{tau:g}'.replace('.', 'x') if tau < 1 else f'tau{tau:g}x0'
        arrays[f'mask_{key}'] = (out.mask.round().byte(), 0, 0)
        arrays[f'grad_weight_{key}'] = (gate.conv.weight.grad.clone(), 1e-4, 1e-6)
        arrays[f'grad_bias_{key}'] = (gate.conv.bias.grad.clone(), 1e-4, 1e-6)
        arrays[f'sparsity_{key}'] = (out.density, 0, 1e-6)
    return Result(arrays=arrays)


# --- blocks


def compare_records(case: Case, meter: GateMeter, margins: list) -> dict:
    """What all blocks and networks store about their gates."""
    gates = [record.gate for record in meter.records]
    arrays = dict(
        sparsity=(torch.stack([g.density for g in gates]), 0, 1e-6),
        sparsity_dil=(torch.stack([g.dilated_density for g in gates]), 0, 1e-6),
        flops_perc=(meter.ratios, 0, 1e-6),
        flops=(meter.macs, 1e-6, 0),
    )
    for i, gate in enumerate(gates):
        kinds = dict(mask_coarse='coarse', mask='mask', mask_dil='dilated')
        for key, name in kinds.items():
            if case.has(f'{key}_{i:02d}'):
                arrays[f'{key}_{i:02d}'] = (getattr(gate, name).byte(), 0, 0)
    if case.has('min_margin'):
        arrays['min_margin'] = (np.float64(margins), 0, 2e-4)
    return arrays


def watch(blocks: list) -> tuple[list, list, list]:
    """Record each block's margin, gate MACs and (mean, std, abs max) of its output."""
    margins, macs, stats = [], [], []

    def gate_hook(gate, args, out):
        x, stride = args
        margins.append(margin(gate.logits(x, stride)))
        macs.append(gate.macs(*out.mask.shape[2:]))

    def block_hook(block, args, out):
        stats.append([out.mean().item(), out.std().item(), out.abs().max().item()])

    for block in blocks:
        block.gate.register_forward_hook(gate_hook)
        block.register_forward_hook(block_hook)
    return margins, macs, stats


def run_block(case: Case, block: nn.Module) -> Result:
    state = {k: torch.from_numpy(v) for k, v in case.weights().items()}
    regnet = any(k.startswith('f.') for k in state)
    where = 'trunk_output.block1.block1-0.' if regnet else 'layer1.0.'
    state = lasnet_keys({where + k: v for k, v in state.items()})
    state = {k.removeprefix('backbone.layer1.0.'): v for k, v in state.items()}
    block.load_state_dict(state)
    block.eval()
    margins, macs, _ = watch([block])
    x = torch.from_numpy(case.input())
    with torch.no_grad(), measure_gates() as meter:
        out = block(x)
    arrays = compare_records(case, meter, margins)
    arrays['out'] = (out, 0, 1e-5)
    arrays['masker_flops'] = (np.int64(macs), 0, 0)
    block.mode, block.backend = 'execute', 'torch'
    with torch.inference_mode():
        np.testing.assert_allclose(block(x), out, rtol=0, atol=2e-5)
    return Result(arrays=arrays)


@adapter('las_resnet.Bottleneck')
def bottleneck(case: Case) -> Result:
    from mmpretrain.models.backbones.resnet import ResLayer

    from dynnet.models.layers.gated_bottleneck import GatedBottleneck

    kwargs = case.meta['kwargs']
    layer = make_layer(ResLayer, kwargs['inplanes'], 4 * kwargs['planes'], kwargs)
    assert (layer.downsample is not None) == kwargs['downsample']
    return run_block(case, GatedBottleneck(layer, make_gate(kwargs, 'inplanes')))


@adapter('las_regnet.ResBottleneckBlock')
def regnet_block(case: Case) -> Result:
    from mmpretrain.models.backbones.resnext import Bottleneck
    from mmpretrain.models.utils import SELayer

    from dynnet.models.layers.gated_se_bottleneck import GatedSEBottleneck
    from dynnet.models.layers.se_bottleneck import SEBottleneck

    kwargs = case.meta['kwargs']
    before, width, stride = (kwargs[k] for k in ('width_in', 'width_out', 'stride'))
    downsample = None
    if before != width or stride != 1:
        downsample = nn.Sequential(
            nn.Conv2d(before, width, 1, stride, bias=False), nn.BatchNorm2d(width)
        )
    block = Bottleneck(
        before,
        width,
        base_channels=width,
        groups=width // kwargs['group_width'],
        width_per_group=kwargs['group_width'],
        expansion=1,
        stride=stride,
        downsample=downsample,
    )
    block = SEBottleneck(block, SELayer(width, round(kwargs['se_ratio'] * before)))
    return run_block(case, GatedSEBottleneck(block, make_gate(kwargs, 'width_in')))


def make_layer(layer: type, before: int, after: int, kwargs: dict) -> nn.Module:
    from mmpretrain.models.backbones.resnet import Bottleneck

    return layer(Bottleneck, 1, before, after, stride=kwargs['stride'])[0]


def make_gate(kwargs: dict, channels: str) -> SpatialGate:
    return SpatialGate(
        kwargs[channels],
        kwargs['mask_spatial_granularity'],
        groups=kwargs['mask_channel_group'],
    )
