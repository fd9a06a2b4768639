"""LASNet: classifiers and detection backbones."""

import tempfile
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope

from dynnet.models.gates import measure_gates
from dynnet.models.losses import MACsBudgetLoss
from dynnet.registry import MODELS
from dynnet.utils.checkpoint import load_weights
from dynnet.utils.conversion import convert_checkpoint
from dynnet.utils.lasnet_conversion import lasnet_keys

from . import Case, Result, adapter
from .lasnet import compare_records, watch

SPATIAL = dict(type='dynnet.SpatialGate')


def converted(case: Case, prefix: str = 'backbone.') -> dict[str, torch.Tensor]:
    """The published weights by the converter's names, without a prefix."""
    weights = {k: torch.from_numpy(v) for k, v in case.weights().items()}
    return {k.removeprefix(prefix): v for k, v in lasnet_keys(weights).items()}


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
