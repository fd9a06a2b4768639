"""A small AdaFocus of either form."""

import copy

import pytest
import torch
import torch.nn.functional as F
from mmengine.registry import DefaultScope
from torch import nn

from dynnet.registry import MODELS
from dynnet.utils.optional import is_available, require

if not is_available('mmaction'):
    collect_ignore_glob = ['test_*.py']

FRAMES, CLASSES = 4, 3
HEAD = dict(type='dynnet.FrameMeanHead', num_classes=CLASSES, dropout=0.0)
SMALL = dict(
    type='dynnet.AdaFocus',
    frame_size=48,
    glance_size=24,
    patch_size=32,
    num_segments=FRAMES,
    num_classes=CLASSES,
    global_backbone=dict(
        type='mmpretrain.ResNet_CIFAR',
        depth=18,
        stem_channels=4,
        base_channels=4,
        num_stages=3,
        strides=(1, 2, 2),
        dilations=(1, 1, 1),
        out_indices=(2,),
    ),
    backbone=dict(type='mmpretrain.ResNet', depth=18, stem_channels=8, base_channels=4),
    policy=dict(
        in_channels=16, map_size=6, mid_channels=4, hidden_channels=32, num_actions=25
    ),
    global_head=dict(HEAD, in_channels=16),
    local_head=dict(HEAD, in_channels=32),
    cls_head=dict(
        type='dynnet.RecurrentHead',
        in_channels=48,
        hidden_channels=16,
        dropout=0.0,
    ),
)


def make(cfg: dict) -> nn.Module:
    """Build a net whose BNs and answers differ from frame to frame."""
    require('mmaction')
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope('mmaction'):
        net = MODELS.build(copy.deepcopy(cfg))
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight, 1, 0.2)
            nn.init.normal_(module.bias, 0, 0.2)
    for module in net.policy.encoder:
        if hasattr(module, 'weight'):
            module.weight.data *= 4
    nn.init.normal_(net.policy.actor.weight, 0, 4)
    if isinstance(net.cls_head.fc, nn.Linear):
        nn.init.normal_(net.cls_head.fc.weight, 0, 3)
    return net.eval()


@pytest.fixture(scope='session')
def small_config():
    """Give the config of a small AdaFocus with changes."""
    return lambda **settings: dict(copy.deepcopy(SMALL), **settings)


@pytest.fixture(scope='session')
def make_adafocus(small_config):
    """Give a small AdaFocus of its own."""
    return lambda **settings: make(small_config(**settings))


@pytest.fixture(scope='session')
def clips():
    """Five clips (5, 4, 3, 48, 48)."""
    generator = torch.Generator().manual_seed(0)
    blobs = torch.randn(5 * FRAMES, 3, 3, 3, generator=generator)
    noise = torch.randn(5 * FRAMES, 3, 48, 48, generator=generator)
    frames = 3 * F.interpolate(blobs, 48, mode='bicubic') + 0.3 * noise
    return frames.unflatten(0, (5, FRAMES))


@pytest.fixture(scope='session')
def labels():
    return torch.tensor([0, 1, 2, 1, 0])


@pytest.fixture
def samples(labels):
    """Data samples with these labels."""
    require('mmaction')
    from mmaction.structures import ActionDataSample

    return [ActionDataSample().set_gt_label(int(label)) for label in labels]
