import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from dynnet.models.weighting import (
    confidence,
    directional_losses,
    meta_loss,
    sgd_lookahead,
)
from dynnet.models.weighting.checks import check_functional
from dynnet.models.weighting.random_state import RandomState

SGDS = {
    'plain': dict(lr=0.1),
    'momentum': dict(lr=0.1, momentum=0.9, weight_decay=1e-2),
    'dampened': dict(lr=0.1, momentum=0.9, dampening=0.3),
    'nesterov': dict(lr=0.1, momentum=0.9, nesterov=True, weight_decay=1e-2),
}


def small_net(dtype=torch.float64):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, 3)).to(dtype)


@pytest.mark.parametrize('name', SGDS)
@pytest.mark.parametrize('steps', [0, 2])
def test_lookahead_is_the_step_that_sgd_takes(name, steps):
    net = small_net()
    # two groups with settings of their own
    groups = [
        dict(params=net[0].parameters(), lr=0.3, weight_decay=0.1),
        dict(params=net[2].parameters()),
    ]
    optimizer = torch.optim.SGD(groups, **SGDS[name])
    x, y = torch.randn(8, 5, dtype=torch.float64), torch.arange(8) % 3
    for _ in range(steps):
        optimizer.zero_grad()
        F.cross_entropy(net(x), y).backward()
        optimizer.step()
    parameters = dict(net.named_parameters())
    loss = F.cross_entropy(net(x), y)
    gradients = dict(zip(parameters, torch.autograd.grad(loss, net.parameters())))
    before = {n: p.detach().clone() for n, p in parameters.items()}
    after, slopes = sgd_lookahead(parameters, gradients, optimizer)

    other = {n: g + 1e-3 for n, g in gradients.items()}
    moved, _ = sgd_lookahead(parameters, other, optimizer)
    for n, p in parameters.items():
        assert torch.equal(p, before[n])
        slope = (moved[n] - after[n]) / 1e-3
        assert torch.allclose(slope, torch.full_like(p, slopes[n]))
        p.grad = gradients[n]
    optimizer.step()
    for n, p in parameters.items():
        assert torch.allclose(p, after[n], rtol=1e-14, atol=0)


def test_parameter_without_gradient_stays_out():
    net = small_net()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, weight_decay=0.1)
    parameters = dict(net.named_parameters())
    gradients = {
        n: None if n == '0.bias' else p.detach() for n, p in parameters.items()
    }
    after, slopes = sgd_lookahead(parameters, gradients, optimizer)
    assert '0.bias' not in after and after.keys() == slopes.keys()


def test_other_optimizers_are_refused():
    net = small_net()
    parameters = dict(net.named_parameters())
    gradients = {n: p.detach() for n, p in parameters.items()}
    with pytest.raises(ValueError, match='that of SGD.*is Adam'):
        sgd_lookahead(parameters, gradients, torch.optim.Adam(net.parameters()))
    up = torch.optim.SGD(net.parameters(), lr=0.1, maximize=True)
    with pytest.raises(ValueError, match='maximise'):
        sgd_lookahead(parameters, gradients, up)


def test_meta_loss_is_a_sum_of_means_over_the_samples_assigned():
    losses = torch.tensor([[1.0, 9.0, 9.0], [3.0, 9.0, 9.0], [9.0, 9.0, 5.0]])
    losses[0, 1] = torch.inf  # nobody asks for it
    losses.requires_grad_()
    value = meta_loss(losses, torch.tensor([0, 0, 2]))
    assert value.item() == 2 + 5
    value.backward()
    expected = torch.tensor([[0.5, 0, 0], [0.5, 0, 0], [0, 0, 1.0]])
    assert torch.equal(losses.grad, expected)


def test_directional_losses_are_derivatives():
    net = small_net()
    x, y = torch.randn(8, 5, dtype=torch.float64), torch.arange(8) % 3
    parameters = dict(net.named_parameters())
    direction = {n: torch.randn_like(p) for n, p in parameters.items() if n != '2.bias'}

    def losses(values):
        logits = torch.func.functional_call(net, values, (x,))
        return F.cross_entropy(logits, y, reduction='none')[:, None]

    ours = directional_losses(losses, parameters, direction)
    rows = [
        sum(
            (torch.autograd.grad(losses({})[i, 0], [parameters[n]])[0] * d).sum()
            for n, d in direction.items()
        )
        for i in range(8)
    ]
    assert not ours.requires_grad
    assert torch.allclose(ours[:, 0], torch.stack(rows))


def test_confidence_is_float32_at_least():
    logits = torch.randn(2, 3, 4)
    expected = logits.softmax(-1).amax(-1)
    assert torch.equal(confidence(logits), expected)
    assert confidence(logits.half()).dtype == torch.float32
    assert confidence(logits.double()).dtype == torch.float64


def test_random_state_draws_the_same_again():
    torch.manual_seed(3)
    state = RandomState(torch.device('cpu'))
    first = torch.rand(3)
    with state.again():
        assert torch.equal(torch.rand(3), first)
    following = torch.rand(3)
    torch.manual_seed(3)
    assert torch.equal(torch.rand(6), torch.cat([first, following]))


def test_layers_that_cannot_be_run_elsewhere_are_refused():
    net = nn.Sequential(nn.Conv2d(1, 1, 1), nn.BatchNorm2d(1))
    check_functional(net)
    with pytest.raises(ValueError, match=r'^1 is a SyncBN.*without sync_bn'):
        check_functional(nn.SyncBatchNorm.convert_sync_batchnorm(copy.deepcopy(net)))
    net[0].with_cp = True
    with pytest.raises(ValueError, match='0 has with_cp=True'):
        check_functional(net)
