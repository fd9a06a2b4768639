"""Residual blocks with statistics that matter, and the masked dense form of them."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

KINDS = {
    'plain': dict(kind='Bottleneck', channels=(24, 24)),
    'project': dict(kind='Bottleneck', channels=(16, 24)),
    'stride': dict(kind='Bottleneck', channels=(16, 32), stride=2),
    'caffe': dict(kind='Bottleneck', channels=(16, 32), stride=2, style='caffe'),
    'dilated': dict(kind='Bottleneck', channels=(16, 16), dilation=2),
    'wide': dict(kind='Bottleneck', channels=(72, 280), stride=2, expansion=2),
    'basic': dict(kind='BasicBlock', channels=(12, 12)),
    'basic-stride': dict(kind='BasicBlock', channels=(12, 20), stride=2),
    'pooled': dict(kind='Bottleneck', channels=(16, 24), stride=2, pool=True),
}


def make_block(
    kind: str,
    channels: tuple[int, int],
    stride: int = 1,
    pool: bool = False,
    seed: int = 0,
    **settings,
) -> nn.Module:
    """Build an mmpretrain block in eval mode."""
    resnet = pytest.importorskip('mmpretrain.models.backbones.resnet')
    torch.manual_seed(seed)
    downsample = None
    if stride != 1 or channels[0] != channels[1]:
        step = stride
        parts = []
        if pool:
            parts = [nn.AvgPool2d(stride, stride, ceil_mode=True)]
            step = 1
        parts.append(nn.Conv2d(*channels, 1, step, bias=False))
        downsample = nn.Sequential(*parts, nn.BatchNorm2d(channels[1]))
    block = getattr(resnet, kind)(
        *channels, stride=stride, downsample=downsample, **settings
    )
    for module in block.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight, 1, 0.2)
            nn.init.normal_(module.bias, 0, 0.3)
            nn.init.normal_(module.running_mean, 0, 0.3)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    return block.eval()


def masked_dense(block: nn.Module, x: Tensor, mask: Tensor) -> Tensor:
    """Run the block's own layers on the whole map; zero the branch off the mask."""
    y = block.norm2(block.conv2(F.relu(block.norm1(block.conv1(x)))))
    if hasattr(block, 'conv3'):
        y = block.norm3(block.conv3(F.relu(y)))
    mask = F.interpolate(mask[:, None].float(), size=y.shape[2:], mode='nearest')
    identity = x if block.downsample is None else block.downsample(x)
    return F.relu(torch.where(mask > 0, y, 0) + identity)


@pytest.fixture(scope='session')
def blocks():
    """Every kind of block, by name."""
    return {name: make_block(**settings) for name, settings in KINDS.items()}


@pytest.fixture(scope='session')
def make():
    """Give the maker of blocks."""
    return make_block


@pytest.fixture(scope='session')
def reference():
    """Give the masked dense form."""
    return masked_dense


@pytest.fixture(params=KINDS)
def kind(request):
    """Every kind of block in turn."""
    return request.param
