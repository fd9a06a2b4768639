"""LASNet: losses and schedules."""

import functools

import numpy as np
import torch
import torch.nn.functional as F
from mmengine.registry import DefaultScope
from torch import nn

from dynnet.engine.schedules import scheduled_value
from dynnet.models.gates import count_full_flops, measure_gates
from dynnet.models.losses import bounds_loss, kd_loss, ratio_bounds, target_loss
from dynnet.registry import MODELS

from ..fill import fill_input
from . import Case, Result, adapter


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
