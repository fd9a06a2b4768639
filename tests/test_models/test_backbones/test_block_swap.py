"""Blocks are swapped stage by stage, before they are frozen."""

import pytest
import torch
from torch import nn

pytest.importorskip('mmpretrain')

from mmpretrain.models import ResNet

from dynnet.models.backbones import BlockSwapMixin


class Doubled(nn.Module):
    def __init__(self, block):
        super().__init__()
        self.block = block
        self.gate = nn.Linear(1, 1)
        self.out_channels = block.out_channels

    def forward(self, x):
        return 2 * self.block(x)


class Swapped(BlockSwapMixin, ResNet):
    def __init__(self, stages, **kwargs):
        self.stages, self.calls = stages, []
        super().__init__(**kwargs)

    def swap_blocks(self, stage, blocks):
        self.calls.append((stage, len(blocks)))
        if stage in self.stages:
            return nn.Sequential(*map(Doubled, blocks))
        return None


def build(cls, *args, **kwargs):
    torch.manual_seed(0)
    net = cls(*args, depth=18, base_channels=4, stem_channels=4, **kwargs)
    net.eval()  # mmpretrain's returns None
    return net


def test_every_stage_is_offered_once_and_in_order():
    assert build(Swapped, []).calls == [(0, 2), (1, 2), (2, 2), (3, 2)]


def test_same_net_where_nothing_is_swapped():
    plain, swapped = build(ResNet), build(Swapped, [])
    swapped.load_state_dict(plain.state_dict())
    x = torch.randn(1, 3, 32, 32)
    assert torch.equal(plain(x)[-1], swapped(x)[-1])


def test_swapped_blocks_are_frozen_too():
    net = build(Swapped, [0, 1], frozen_stages=1)
    net.train()
    assert not any(p.requires_grad for p in net.layer1.parameters())
    assert not any(m.training for m in net.layer1.modules())
    assert all(p.requires_grad for p in net.layer2.parameters())
    assert isinstance(net.layer2[1], Doubled)
