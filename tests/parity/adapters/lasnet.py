"""LASNet: gates, blocks, networks, detection backbones, losses and schedules."""

import functools
import tempfile
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmengine.registry import DefaultScope
from torch import nn

from dynnet.engine.schedules import scheduled_value
from dynnet.models.gates import (
    GateMeter,
    SpatialGate,
    count_full_flops,
    measure_gates,
)
from dynnet.models.losses import (
    MACsBudgetLoss,
    bounds_loss,
    kd_loss,
    ratio_bounds,
    target_loss,
)
from dynnet.registry import MODELS
from dynnet.utils.checkpoint import load_weights
from dynnet.utils.conversion import convert_checkpoint
from dynnet.utils.lasnet_conversion import lasnet_keys

from ..fill import fill_input
from . import Case, Result, adapter

SPATIAL = dict(type='dynnet.SpatialGate')


def converted(case: Case, prefix: str = 'backbone.') -> dict[str, torch.Tensor]:
    """The published weights by the converter's names, without a prefix."""
    weights = {k: torch.from_numpy(v) for k, v in case.weights().items()}
    return {k.removeprefix(prefix): v for k, v in lasnet_keys(weights).items()}


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

    from dynnet.models.layers.gated_bottleneck import GatedSEBottleneck
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


# --- networks


def run_net(case: Case, backbone: dict, channels: int) -> tuple:
    """Go a user's way: published file, converter, config, strict loading, forward."""
    model = dict(
        type='dynnet.GatedClassifier',
        backbone=backbone,
        neck=dict(type='mmpretrain.GlobalAveragePooling'),
        head=dict(
            type='mmpretrain.LinearClsHead', num_classes=1000, in_channels=channels
        ),
    )
    published = {f'module.{k}': torch.from_numpy(v) for k, v in case.weights().items()}
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, 'source.pth'), Path(folder, 'target.pth')
        torch.save(dict(state_dict=published, temp=0.1, epoch=100), source)
        convert_checkpoint(source, target, Config(dict(model=model)), lasnet_keys)
        with DefaultScope.overwrite_default_scope('mmpretrain'):
            net = MODELS.build(model)
        load_weights(net, target)
    net.eval()
    margins, macs, stats = watch(net.backbone.gated_blocks)
    x = torch.from_numpy(case.input())
    with torch.no_grad(), measure_gates() as meter:
        logits = net(x)
    net.count_head(meter)
    return net, meter, logits, margins, macs, stats


def compare_net(case: Case, backbone: dict, channels: int) -> Result:
    net, meter, logits, margins, macs, stats = run_net(case, backbone, channels)
    arrays = compare_records(case, meter, margins)
    arrays['logits'] = (logits, 0, 5e-5)
    arrays['block_stats'] = (np.float64(stats), 1e-4, 1e-4)
    arrays['masker_flops'] = (np.int64(macs), 0, 0)
    return Result(arrays=arrays)


@adapter('las_resnet')
def las_resnet(case: Case) -> Result:
    kwargs = case.meta['kwargs']
    backbone = dict(
        type='dynnet.LASResNet',
        depth=int(kwargs['arch'].removeprefix('dyn_resnet')),
        granularity=kwargs['S_net'],
        gate=dict(SPATIAL, groups=kwargs['mask_channel_group']),
    )
    return compare_net(case, backbone, 2048)


@adapter('las_regnet')
def las_regnet(case: Case) -> Result:
    kwargs = case.meta['kwargs']
    arch = kwargs['arch'].removeprefix('dyn_regnet_')
    backbone = dict(
        type='dynnet.LASRegNet',
        arch='regnet' + arch,
        granularity=kwargs['S_net'],
        gate=dict(groups=kwargs['mask_channel_group']),
    )
    return compare_net(case, backbone, {'y_400mf': 440, 'y_800mf': 784}[arch])


@adapter('laud_resnet')
def laud_resnet(case: Case) -> Result:
    kwargs = case.meta['kwargs']
    layer = kwargs['dyn_mode'] == 'layer'
    backbone = dict(
        type='dynnet.LASResNet',
        depth=int(kwargs['arch'].removeprefix('uni_resnet')),
        granularity=kwargs['S_net'],
        gate=dict(type='dynnet.LayerGate' if layer else 'dynnet.SpatialGate'),
    )
    _, meter, logits, margins, macs, stats = run_net(case, backbone, 2048)
    arrays = compare_records(case, meter, margins)
    density, dilated = arrays.pop('sparsity'), arrays.pop('sparsity_dil')
    arrays |= dict(sparsity_conv3=density, sparsity_conv2=density)
    arrays['sparsity_conv1'] = dilated
    arrays['logits'] = (logits, 0, 5e-5)
    if case.has('block_stats'):
        arrays['block_stats'] = (np.float64(stats), 1e-4, 1e-4)
    if case.has('masker_flops'):
        arrays['masker_flops'] = (np.int64(macs), 0, 0)
    return Result(arrays=arrays)


@adapter('det_las_resnet')
def det_las_resnet(case: Case) -> Result:
    kwargs = case.meta['kwargs']
    backbone = dict(
        type='dynnet.LASResNet',
        depth=kwargs['depth'],
        granularity=kwargs['S_net'],
        out_indices=tuple(kwargs['out_indices']),
        frozen_stages=kwargs['frozen_stages'],
        norm_eval=kwargs['norm_eval'],
    )
    net = MODELS.build(backbone)
    net.load_state_dict(converted(case))
    net.eval()
    margins, macs, _ = watch(net.gated_blocks)
    x = torch.from_numpy(case.input())
    with torch.no_grad(), measure_gates() as meter:
        feats = net(x)
    arrays = compare_records(case, meter, margins)
    arrays['masker_flops'] = (np.int64(macs), 0, 0)
    arrays['dense_flops'] = (np.float64(meter.dense_macs), 1e-6, 0)
    loss = MACsBudgetLoss(kwargs['mask_target_sparsity'], 1.0, with_bounds=False)
    arrays['loss_sparse'] = (loss(meter)['loss_macs'], 1e-6, 0)
    for i, feat in enumerate(feats):
        sliced = feat[:, :: feat.shape[1] // 8, ::2, ::2]
        arrays[f'feat{i}'] = (sliced, 0, 2e-4)
        arrays[f'feat{i}_shape'] = (np.int64(feat.shape), 0, 0)
        arrays[f'feat{i}_mean_c'] = (feat.mean((0, 2, 3)), 0, 2e-5)
    return Result(arrays=arrays)


# --- losses and schedules


@adapter('losses')
def losses(case: Case) -> Result:
    kwargs = case.meta['kwargs']
    student = 2 * torch.from_numpy(case.input())
    teacher = 2 * torch.from_numpy(fill_input('loss:teacher', tuple(student.shape)))
    labels = torch.tensor(kwargs['labels'])
    epochs, num_epochs = kwargs['epochs'], kwargs['num_epochs']

    def sparsity(kind: str, name: str, target: float, epoch: int) -> torch.Tensor:
        rates = torch.tensor(kwargs['rates'][name])
        if kind == 'block':  # no bounds, no schedule
            return ((rates - target) ** 2).mean()
        macs = torch.tensor(kwargs['flops'][name])
        loss = target_loss(macs, kwargs['full_flops'], target)
        if kind == 'bounds':
            progress = epoch / (0.33 * num_epochs)
            return loss + bounds_loss(rates, *ratio_bounds(target, progress))
        # Never used in training: bounds that open to [.15, .9], the upper one for the
        # dilated rate, and a limit to what dilation adds.
        lower, upper = ratio_bounds(target, epoch / (num_epochs / 3))
        gamma = lower / target
        lower, upper = 0.15 + gamma * (target - 0.15), 0.9 + gamma * (target - 0.9)
        dilated = torch.tensor(kwargs['rates_dil'][name])
        loss = loss + (F.relu(dilated - upper) ** 2 + F.relu(lower - rates) ** 2).mean()
        return loss + (F.relu(dilated - rates - 0.2) ** 2).mean()

    arrays = {}
    for kind in ('bounds', 'gradually', 'block'):
        for name in kwargs['rates']:
            for target in kwargs['targets']:
                key = f'SparsityCriterion_{kind}|{name}|{target}'
                if case.has(key):
                    ours = [float(sparsity(kind, name, target, e)) for e in epochs]
                    arrays[key] = (np.float64(ours), 1e-6, 1e-6)
    for t in (1.0, 2.0, 4.0):
        arrays[f'kd|T{t}'] = (kd_loss(student, teacher, t), 0, 1e-6)
    ce = F.cross_entropy(student, labels)
    arrays['ce'] = (ce, 0, 1e-6)
    smooth = F.cross_entropy(student, labels, label_smoothing=0.1)
    arrays['ce_smooth0.1'] = (smooth, 0, 1e-6)
    total = kwargs['lambda_act'] * sparsity('bounds', 'a', 0.5, 10) + ce
    total = total + kwargs['alpha_kd'] * kd_loss(student, teacher, kwargs['T_kd'])
    arrays['total|epoch10|a'] = (total, 0, 5e-6)
    return Result(arrays={k: v for k, v in arrays.items() if case.has(k)})


@functools.cache
def shared_net(name: str) -> nn.Module:
    kind, size = name.split('_', 1) if '_' in name else (name, '')
    if kind == 'regnet':
        cfg = dict(type='dynnet.LASRegNet', arch='regnet' + size)
        channels = {'y_400mf': 440, 'y_800mf': 784}[size]
    else:
        cfg = dict(type='dynnet.LASResNet', depth=int(name.removeprefix('resnet')))
        channels = 2048
    model = dict(
        type='dynnet.GatedClassifier',
        backbone=cfg,
        neck=dict(type='mmpretrain.GlobalAveragePooling'),
        head=dict(
            type='mmpretrain.LinearClsHead', num_classes=1000, in_channels=channels
        ),
    )
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        return MODELS.build(model).to('meta').eval()


@adapter('schedules')
def schedules(case: Case) -> Result:
    kwargs = case.meta['kwargs']
    length, epochs = kwargs['batches_per_epoch'], kwargs['epochs']
    points = [epoch + it / length for epoch, it in kwargs['points']]
    ends = (kwargs['t0'], kwargs['t_last'])
    arrays = {}
    for rule in ('exp', 'linear', 'cosine'):
        values = [scheduled_value(rule, p, 0, epochs, ends) for p in points]
        arrays[f'temperature|{rule}'] = (np.float64(values), 1e-9, 0)
    rates = [scheduled_value('cosine', p, 0, epochs, (1.0, 0.0)) for p in points[:-1]]
    rates = kwargs['lr'] * np.float64(rates)
    for net in kwargs['lr_columns']:
        # The maskers of ResNets learn slower, those of RegNets do not.
        mult = 1 if 'regnet_y' in net else kwargs['lr_mult']
        columns = np.stack([rates, mult * rates], 1)
        arrays[f'lr|{net}'] = (columns, 1e-9, 1e-12)
    ignored = {}
    for key in case.meta['outputs']:
        what, *rest = key.split('|')
        if what == 'full_flops':
            net = shared_net(rest[0])
            arrays[key] = (np.float64(count_full_flops(net, (3, 224, 224))), 0, 0)
        elif what == 'op_counter_flops':
            ignored[key] = 'a counter that another one shadows (spec, 2.5): never used'
        elif what == 'dyn_flops':
            # The published sum is a float32.
            arrays[key] = (np.float64(dynamic_flops(*rest)), 1e-6, 0)
    return Result(arrays=arrays, ignored=ignored)


def dynamic_flops(name: str, granularity: str, mask: str) -> float:
    """MACs with all masks 0 or 1: they follow from the shapes alone."""
    net = shared_net(name)
    for block, s in zip(net.backbone.gated_blocks, per_block(net, granularity)):
        block.gate.granularity = s
    with torch.no_grad(), measure_gates() as meter:
        net(torch.empty(1, 3, 224, 224, device='meta'))
    net.count_head(meter)
    if mask == 'mask1':
        return meter.dense_macs
    costs = [record.costs for record in meter.records]
    return meter.static_macs + sum(c.gate + c.identity for c in costs)


def per_block(net: nn.Module, granularity: str) -> list[int]:
    stages = [len(getattr(net.backbone, name)) for name in net.backbone.res_layers]
    sizes = map(int, granularity.split('-'))
    return [s for s, count in zip(sizes, stages) for _ in range(count)]
