"""Costs per exit: counted by hand on a tiny net."""

import pytest
import torch
from torch import nn

from dynnet.models.backbones import MultiExitBackbone
from dynnet.models.heads import LinearExit
from dynnet.utils.cost import count_exit_costs


class TwoExits(MultiExitBackbone):
    """Two stages of any modules, an exit after each."""

    def __init__(self, first, second):
        super().__init__()
        self.stages = nn.ModuleList([first, second])
        self.num_exits = 2

    def init_state(self, x):
        return 0, x

    def step(self, state):
        k, x = state
        x = self.stages[k](x)
        return x, (k + 1, x)


class Head(nn.Module):
    def __init__(self, *branches):
        super().__init__()
        self.exits = nn.ModuleList(branches)

    def forward_exit(self, index, feat):
        return self.exits[index](feat)


class Model(nn.Module):
    def __init__(self, first, second, *branches):
        super().__init__()
        self.backbone = TwoExits(first, second)
        self.head = Head(*branches)


@pytest.fixture
def model():
    first = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4), nn.ReLU()
    )
    second = nn.Sequential(
        nn.Conv2d(4, 6, 3, stride=2, padding=1, groups=2),
        nn.ReLU6(),
        nn.MaxPool2d(2),
        nn.Identity(),
    )
    return Model(first, second, LinearExit(4, 5), LinearExit(6, 5))


def test_by_hand(model):
    costs = count_exit_costs(model, (3, 8, 10))
    conv1 = 3 * 4 * 9 * 8 * 10
    linear1, linear2 = 4 * 5, 6 * 5
    conv2 = 6 * (4 // 2) * 9 * 4 * 5
    assert costs.macs == [conv1 + linear1, conv1 + linear1 + conv2 + linear2]
    assert costs.head_macs == [linear1, linear2]
    # The published counter adds ReLU elements, pooled pixels and the linear bias.
    relu1, pool1, bias = 4 * 8 * 10, 4 * 8 * 10, 5
    exit1 = conv1 + relu1 + pool1 + linear1 + bias
    relu2, max2, pool2 = 6 * 4 * 5, 6 * 2 * 2 * 4, 6 * 2 * 2
    exit2 = exit1 + conv2 + relu2 + max2 + pool2 + linear2 + bias
    assert costs.published_flops == [exit1, exit2]
    params1 = 3 * 4 * 9 + 2 * 4 + linear1 + bias
    assert costs.params == [params1, params1 + 6 * 2 * 9 + 6 + linear2 + bias]
    assert costs.uncounted == []
    assert costs.input_shape == (3, 8, 10)


def test_more_pixels_cost_more(model):
    small, large = (count_exit_costs(model, (3, s, s)) for s in (8, 16))
    head = large.head_macs[0]
    assert large.head_macs == small.head_macs
    assert large.macs[0] - head == 4 * (small.macs[0] - head)
    assert large.params == small.params


def test_a_linear_layer_over_positions_counts_each():
    rows = nn.Sequential(nn.Flatten(2), nn.Linear(16, 4), nn.Unflatten(2, (2, 2)))
    model = Model(rows, nn.Identity(), LinearExit(3, 5), LinearExit(3, 5))
    costs = count_exit_costs(model, (3, 4, 4))
    assert costs.macs[0] == 3 * 16 * 4 + 3 * 5
    assert costs.published_flops[0] == 3 * 16 * 4 + 4 + 3 * 4 + 3 * 5 + 5
    assert costs.uncounted == ['backbone.stages.0.2 (Unflatten)']


def test_what_cannot_be_counted_is_listed_once():
    gelu = nn.GELU()
    model = Model(
        nn.Sequential(nn.Conv2d(3, 4, 1), gelu, nn.Upsample(scale_factor=2), gelu),
        nn.PReLU(),
        LinearExit(4, 5),
        LinearExit(4, 5),
    )
    costs = count_exit_costs(model, (3, 4, 4))
    assert costs.uncounted == [
        'backbone.stages.0.1 (GELU)',
        'backbone.stages.0.2 (Upsample)',
        'backbone.stages.1 (PReLU)',
    ]
    assert costs.params[1] - costs.params[0] == 1 + 25


class Attention(nn.Module):
    """Its own parameters work in nn.MultiheadAttention, beside a child never called."""

    def __init__(self):
        super().__init__()
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True)

    def forward(self, x):
        y = x.flatten(2).transpose(1, 2)
        y = self.attention(y, y, y)[0]
        return y.transpose(1, 2).view_as(x)


def test_a_module_that_computes_beside_its_children_is_listed():
    model = Model(nn.Conv2d(3, 4, 1), Attention(), LinearExit(4, 5), LinearExit(4, 5))
    costs = count_exit_costs(model, (3, 4, 4))
    assert costs.uncounted == ['backbone.stages.1.attention (MultiheadAttention)']


def test_shared_modules():
    conv = nn.Conv2d(4, 4, 1, bias=False)
    first = nn.Sequential(nn.Conv2d(3, 4, 1, bias=False), conv)
    model = Model(first, conv, LinearExit(4, 5), LinearExit(4, 5))
    costs = count_exit_costs(model, (3, 2, 2))
    assert costs.macs == [(12 + 16) * 4 + 20, (12 + 2 * 16) * 4 + 40]
    assert costs.params == [12 + 16 + 25, 12 + 16 + 50]  # run twice, stored once


def test_the_model_is_left_as_it_was(model):
    model.train()
    frozen = model.backbone.stages[0][1].eval()  # a part with a mode of its own
    modes = [module.training for module in model.modules()]
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with torch.no_grad():
        count_exit_costs(model, (3, 8, 8))
        assert not torch.is_grad_enabled()
    assert [module.training for module in model.modules()] == modes
    assert not frozen.training and model.training
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])
    assert not any(module._forward_hooks for module in model.modules())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_hooks_go_when_the_forward_fails(model):
    modes = [module.training for module in model.train().modules()]
    with pytest.raises(RuntimeError):
        count_exit_costs(model, (5, 8, 8))
    assert not any(module._forward_hooks for module in model.modules())
    assert [module.training for module in model.modules()] == modes


def test_other_precision(model):
    costs = count_exit_costs(model, (3, 8, 8))
    assert count_exit_costs(model.double(), (3, 8, 8)) == costs


def test_networks_are_counted_whole(shared_net, net_name):
    """Every parameter belongs to some exit; without gradients the same."""
    net = shared_net(net_name)
    costs = count_exit_costs(net, (3, 32, 32))
    with torch.no_grad():
        assert count_exit_costs(net, (3, 32, 32)) == costs
    assert costs.uncounted == []
    assert costs.params[-1] == sum(p.numel() for p in net.parameters())
    for row in (costs.macs, costs.published_flops, costs.params):
        assert len(row) == net.num_exits and row == sorted(set(row))
    assert all(a < b for a, b in zip(costs.macs, costs.published_flops))
