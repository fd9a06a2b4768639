"""RANet and MSDNet: from a published checkpoint to every exit's logits."""

import tempfile
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope

from dynnet.models.exits import MaxSoftmax, assign_exits
from dynnet.registry import MODELS
from dynnet.utils.checkpoint import load_weights
from dynnet.utils.conversion import convert_checkpoint, early_exit_keys

from . import Case, Result, adapter

CLASSES = {'cifar10': 10, 'cifar100': 100, 'ImageNet': 1000}


def shared_settings(kwargs: dict) -> dict:
    """The arguments that both networks have."""
    return dict(
        stem='imagenet' if kwargs['data'] == 'ImageNet' else 'cifar',
        num_blocks=kwargs['nBlocks'],
        step=kwargs['step'],
        step_mode=kwargs['stepmode'],
        base_channels=kwargs['nChannels'],
        growth_rate=kwargs['growthRate'],
        growth_factor=kwargs['grFactor'],
        bottleneck_factor=kwargs['bnFactor'],
        reduction=kwargs['reduction'],
    )


def model_config(kwargs: dict, backbone: dict) -> dict:
    """The classifier with the published exits on a backbone."""
    channels = None if kwargs['data'] == 'ImageNet' else 128
    return dict(
        type='dynnet.MultiExitClassifier',
        backbone=backbone,
        head=dict(
            type='dynnet.MultiExitHead',
            num_classes=CLASSES[kwargs['data']],
            exit=dict(type='dynnet.ConvExit', channels=channels),
        ),
    )


@adapter('RANet')
def ranet(case: Case) -> Result:
    kwargs = case.meta['kwargs']
    backbone = dict(
        type='dynnet.RANet',
        block_step=kwargs['block_step'],
        scale_list=kwargs['scale_list'],
        compress_factor=kwargs['compress_factor'],
        **shared_settings(kwargs),
    )
    return compare(case, model_config(kwargs, backbone))


@adapter('MSDNet')
def msdnet(case: Case) -> Result:
    kwargs = case.meta['kwargs']
    backbone = dict(
        type='dynnet.MSDNet',
        base=kwargs['base'],
        prune=kwargs['prune'],
        bottleneck=kwargs['bottleneck'],
        **shared_settings(kwargs),
    )
    return compare(case, model_config(kwargs, backbone))


def compare(case: Case, model: dict) -> Result:
    """Go a user's way: published file, converter, config, strict loading, forward."""
    published = {
        f'module.{name}': torch.from_numpy(value)
        for name, value in case.weights().items()
    }
    init_default_scope('mmpretrain')
    with tempfile.TemporaryDirectory() as folder:
        source, target, config = (Path(folder, n) for n in ('a.tar', 'b.pth', 'c.py'))
        torch.save(dict(epoch=300, arch='x', state_dict=published), source)
        Config(dict(model=model)).dump(config)
        convert_checkpoint(source, target, config, early_exit_keys)
        net = MODELS.build(model)
        load_weights(net, target)
    net.eval()
    x = torch.from_numpy(case.input())
    with torch.enable_grad():
        plain = net(x).detach()
    with torch.inference_mode():
        folded = net(x)

    # The spec's gate: a wrong align_corners moves RANet's logits by 2e-2.
    arrays = dict(logits=(folded.numpy(), 0, 1e-4))
    np.testing.assert_allclose(plain, folded, rtol=0, atol=1e-5)
    if case.has('thresholds'):
        thresholds = case.feed('thresholds')
        scores = MaxSoftmax().score_all(folded)
        leaves = assign_exits(scores, thresholds[:-1].tolist())
        labels = folded.argmax(-1)[leaves, torch.arange(len(x))]
        arrays['confidence'] = (scores.numpy(), 0, 1e-5)
        arrays['exit_index'] = (leaves.numpy(), 0, 0)
        arrays['exit_pred'] = (labels.numpy(), 0, 0)
    costs = net.measure_costs(x.shape[1:])
    facts = dict(
        flops_per_exit=costs.published_flops,
        params_per_exit=costs.params,
        total_params=sum(p.numel() for p in net.parameters()),
    )
    return Result(arrays=arrays, facts=facts)
