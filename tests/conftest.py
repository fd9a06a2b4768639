"""Small early-exit networks that tests of several folders share."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

RANET = dict(
    type='dynnet.RANet',
    num_blocks=2,
    block_step=1,
    step=2,
    base_channels=4,
    growth_rate=4,
)
MSDNET = dict(type='dynnet.MSDNet', base_channels=4, growth_rate=2)
EVEN = dict(num_blocks=3, base=2, step=2)
BACKBONES = {
    'ranet-123': dict(RANET, step_mode='lg'),
    'ranet-1233': dict(
        RANET,
        growth_factor=(4, 2, 1, 1),
        bottleneck_factor=(4, 2, 1, 1),
        scale_list=(1, 2, 3, 3),
    ),
    'msdnet-max': dict(MSDNET, num_blocks=4, step_mode='lin_grow'),
    'msdnet-max-nobottleneck': dict(MSDNET, **EVEN, bottleneck=False),
    'msdnet-min': dict(MSDNET, **EVEN, prune='min'),
    'msdnet-min-nobottleneck': dict(MSDNET, **EVEN, prune='min', bottleneck=False),
    'resnet': dict(
        type='dynnet.StagedBackbone',
        input_size=32,
        backbone=dict(
            type='mmpretrain.ResNet_CIFAR',
            depth=18,
            base_channels=4,
            stem_channels=4,
            out_indices=(0, 1, 2, 3),
        ),
    ),
}


def make_pictures(number: int, seed: int = 0, size: int = 32) -> torch.Tensor:
    """Blobs of different contrast with some noise, (number, 3, size, size)."""
    generator = torch.Generator().manual_seed(seed)
    blobs = torch.randn(number, 3, 4, 4, generator=generator)
    noise = torch.randn(number, 3, size, size, generator=generator)
    return F.interpolate(blobs, size, mode='bicubic') + 0.3 * noise


@torch.no_grad()
def settle(model: nn.Module) -> nn.Module:
    """Give an untrained net BNs that matter and scores that differ.

    Fresh statistics (mean 0, variance 1) would let a wrong folding pass, and the
    features of an untrained net shrink from layer to layer; without a bias against
    their mean, one class would win for every picture.
    """
    x = make_pictures(24, seed=1)
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    for norm in norms:
        nn.init.normal_(norm.weight, 1, 0.2)
        nn.init.normal_(norm.bias, 0, 0.2)
        norm.momentum = 1.0
    for module in model.modules():
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, 0, 2 * module.in_features**-0.5)
    model.train()(x)
    for norm in norms:
        norm.momentum = 0.1

    def centre(module: nn.Linear, inputs: tuple) -> None:
        module.bias.copy_(-module.weight @ inputs[0].mean(0))

    linears = [m for m in model.modules() if isinstance(m, nn.Linear)]
    hooks = [linear.register_forward_pre_hook(centre) for linear in linears]
    model.eval()(x)
    for hook in hooks:
        hook.remove()
    return model


def _build(cfg: dict) -> nn.Module:
    pytest.importorskip('mmpretrain')
    from mmengine.registry import DefaultScope

    from dynnet.registry import MODELS

    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        return settle(MODELS.build(cfg))


@pytest.fixture(scope='session')
def net_config():
    """Give the config of a small classifier."""

    def config(name: str, **settings) -> dict:
        exit = dict(type='dynnet.ConvExit', channels=8)
        if name == 'resnet':
            exit = dict(type='dynnet.LinearExit')
        head = dict(type='dynnet.MultiExitHead', num_classes=4, exit=exit)
        net = dict(
            type='dynnet.MultiExitClassifier', backbone=BACKBONES[name], head=head
        )
        return dict(copy.deepcopy(net), **settings)

    return config


@pytest.fixture(scope='session')
def shared_net(net_config):
    """Give a small classifier in eval mode; nobody may change its weights."""
    built = {}

    def get(name: str) -> nn.Module:
        if name not in built:
            built[name] = _build(net_config(name))
        return built[name]

    return get


@pytest.fixture(scope='session')
def make_net(shared_net):
    """Give a small classifier of its own, in eval mode."""
    return lambda name: copy.deepcopy(shared_net(name))


@pytest.fixture(params=BACKBONES)
def net_name(request):
    """Every kind of small network in turn."""
    return request.param


@pytest.fixture(scope='session')
def pictures():
    """Pictures (64, 3, 32, 32)."""
    return make_pictures(64)
