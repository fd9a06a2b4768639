"""Every backbone runs from exit to exit: the same numbers, and no more work."""

import copy

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from dynnet.models.backbones import MultiExitBackbone
from dynnet.models.backbones.msdnet import MSDLayer, MSDTransition
from dynnet.models.backbones.ranet import RANetBlock

PARTS = (RANetBlock, MSDLayer, MSDTransition)


def close(a, b):
    """Equal within float noise: another batch size may take other kernels."""
    scale = float(b.abs().max()) if b.numel() else 1
    torch.testing.assert_close(a, b, rtol=0, atol=1e-5 * max(1, scale))


@pytest.fixture
def backbone(shared_net, net_name):
    return shared_net(net_name).backbone


@pytest.fixture
def own_backbone(make_net, net_name):
    return make_net(net_name).backbone


@pytest.fixture(params=['folded', 'plain'])
def grad(request):
    """Whether the plain path (gradients on) or the folded one is taken."""
    with torch.set_grad_enabled(request.param == 'plain'):
        yield


def run(backbone, x, selections=()):
    """Step to the end, selecting samples before the exits; return the features."""
    feats, state = [], backbone.init_state(x)
    for k in range(backbone.num_exits):
        if k < len(selections) and selections[k] is not None:
            state = backbone.select(state, torch.as_tensor(selections[k]))
        feat, state = backbone.step(state)
        feats.append(feat)
    return feats


def test_small_nets_have_every_kind_of_block(shared_net):
    def modules(name):
        return list(shared_net(name).backbone.modules())

    ranet = [m for m in modules('ranet-1233') if isinstance(m, RANetBlock)]
    kinds = {(m.conv_last is not None, m.trans is not None, m.down) for m in ranet}
    assert kinds == {
        (False, False, False),
        (True, False, False),
        (True, True, False),
        (True, False, True),
        (True, True, True),
    }
    msdnet = modules('msdnet-max')
    assert any(isinstance(m, MSDTransition) for m in msdnet)
    assert {m.dropped for m in msdnet if isinstance(m, MSDLayer)} == {0, 1}


def test_shapes(backbone, pictures, grad):
    feats = backbone(pictures[:3])
    assert isinstance(backbone, MultiExitBackbone)
    assert len(feats) == backbone.num_exits == len(backbone.exit_channels)
    assert tuple(feat.shape[1] for feat in feats) == backbone.exit_channels
    assert all(feat.std() > 1e-2 for feat in feats)


def test_folded_equals_plain(backbone, pictures):
    for n in (0, 1, 5):
        x = pictures[:n]
        before = x.clone()
        with torch.no_grad():
            folded = backbone(x)
        for a, b in zip(folded, backbone(x)):
            assert a.shape == b.shape
            close(a, b.detach())
        assert torch.equal(x, before)


def test_stepwise_equals_forward(backbone, pictures, grad):
    x = pictures[:4]
    feats = backbone(x)
    for other in (list(backbone.iter_exits(x)), run(backbone, x)):
        assert len(other) == len(feats)
        assert all(map(torch.equal, other, feats))


@pytest.mark.parametrize(
    ('name', 'part'),
    [
        ('ranet-123', 'scale_flows.1.2'),
        ('msdnet-max', 'blocks.2.0'),
        ('resnet', 'backbone.layer3'),
    ],
)
def test_what_is_not_asked_for_is_not_run(make_net, name, part, pictures, grad):
    backbone, ran = make_net(name).backbone, []
    third = backbone.get_submodule(part)
    third.register_forward_pre_hook(lambda *args: ran.append(args))
    steps = backbone.iter_exits(pictures[:2])
    next(steps), next(steps)
    assert not ran
    next(steps)
    assert ran


def test_select_any_samples_in_any_order_at_any_exit(backbone, pictures, grad):
    feats = backbone(pictures[:6])
    for k in range(backbone.num_exits):
        index = [4, 1, 1, 5]
        for got, full in zip(run(backbone, pictures[:6], [None] * k + [index]), feats):
            close(got, full[index] if len(got) == 4 else full)


@settings(
    max_examples=12,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_repeated_selections_compose(backbone, pictures, data):
    with torch.set_grad_enabled(data.draw(st.booleans())):
        feats = backbone(pictures[:5])
        rows, selections, expected = list(range(5)), [], []
        for feat in feats:
            picks = st.lists(st.integers(0, len(rows) - 1), min_size=1, max_size=6)
            chosen = data.draw(st.none() | picks)
            selections.append(chosen)
            rows = rows if chosen is None else [rows[i] for i in chosen]
            expected.append(feat[rows])
        for got, want in zip(run(backbone, pictures[:5], selections), expected):
            close(got, want)


def test_select_twice_in_a_row_and_two_ways_from_one_state(backbone, pictures, grad):
    x = pictures[:5]
    feats = backbone(x)
    for k in range(backbone.num_exits):
        state = backbone.init_state(x)
        for _ in range(k):
            _, state = backbone.step(state)
        once = backbone.select(state, torch.tensor([4, 0, 2]))
        twice = backbone.select(once, torch.tensor([2, 1]))
        other = backbone.select(state, torch.tensor([3]))
        close(backbone.step(twice)[0], feats[k][[2, 0]])
        close(backbone.step(other)[0], feats[k][[3]])
        close(backbone.step(once)[0], feats[k][[4, 0, 2]])


def test_a_returned_feature_is_not_changed_by_what_follows(backbone, pictures, grad):
    kept, state = [], backbone.init_state(pictures[:4])
    for k in range(backbone.num_exits):
        feat, state = backbone.step(state)
        kept.append((feat, feat.detach().clone()))
        if k % 2:
            state = backbone.select(state, torch.arange(len(feat) - 1))
    for feat, before in kept:
        assert torch.equal(feat, before)


def test_features_of_one_call_survive_the_next(backbone, pictures, grad):
    feats = backbone(pictures[:3])
    before = [feat.detach().clone() for feat in feats]
    backbone(pictures[3:6])
    assert all(map(torch.equal, feats, before))


@pytest.mark.parametrize('training', [True, False])
def test_every_parameter_gets_a_gradient(own_backbone, pictures, training):
    own_backbone.train(training)
    sum(feat.square().mean() for feat in own_backbone(pictures[:4])).backward()
    without = [n for n, p in own_backbone.named_parameters() if p.grad is None]
    assert not without
    total = sum(float(p.grad.abs().sum()) for p in own_backbone.parameters())
    assert 0 < total < float('inf')


def test_a_changed_net_gives_changed_features(own_backbone, pictures):
    """The caches of a whole net: see test_layers for every way to change a unit."""
    x = pictures[:3]
    with torch.no_grad():
        before = own_backbone(x)
        changed = copy.deepcopy(own_backbone)
        for parameter in changed.parameters():
            parameter.mul_(1.1)
        after = changed(x)
        again = own_backbone(x)
        own_backbone.load_state_dict(changed.state_dict())
        loaded = own_backbone(x)
    for a, b, c, d, e in zip(before, after, again, loaded, changed(x), strict=True):
        assert torch.equal(a, c) and torch.equal(b, d)
        assert (a - b).abs().max() > 1e-3
        close(b, e.detach())


def test_ema_swap_through_data(own_backbone, pictures):
    with torch.no_grad():
        before = own_backbone(pictures[:3])
        for parameter in own_backbone.parameters():
            parameter.data.copy_(parameter.data * 1.1)
        own_backbone.eval()
        after = own_backbone(pictures[:3])
    for a, b, c in zip(before, after, own_backbone(pictures[:3])):
        assert (a - b).abs().max() > 1e-3
        close(b, c.detach())


def test_inference_mode_and_double_precision(own_backbone, pictures):
    x = pictures[:3].double()
    plain = own_backbone.double()(x)
    with torch.inference_mode():
        folded = own_backbone(x)
    for a, b in zip(folded, plain):
        assert a.is_inference()
        torch.testing.assert_close(a.clone(), b.detach(), rtol=1e-10, atol=1e-10)


def test_cut_nets_compute_the_same_exit_with_less(shared_net, net_config, net_name):
    from mmengine.registry import DefaultScope

    from dynnet.registry import MODELS

    full = shared_net(net_name).backbone
    x = torch.randn(2, 3, 32, 32)
    state, plain = full.state_dict(), full(x)
    with torch.no_grad():
        folded = full(x)
    sizes = []
    for k in range(full.num_exits):
        cfg = dict(net_config(net_name)['backbone'], exit_index=k)
        with DefaultScope.overwrite_default_scope('mmpretrain'):
            cut = MODELS.build(cfg).eval()
        cut.load_state_dict({n: state[n] for n in cut.state_dict()})
        assert cut.exit_channels == full.exit_channels[: k + 1]
        (feat,) = cut(x)
        assert torch.equal(feat, plain[k])
        with torch.no_grad():
            (without_grad,) = cut(x)
        close(without_grad, folded[k])
        feat.sum().backward()
        assert all(p.grad is not None for p in cut.parameters())
        sizes.append(sum(p.numel() for p in cut.parameters()))
    assert sizes == sorted(set(sizes))
    assert sizes[-1] == sum(p.numel() for p in full.parameters())


def test_the_contract_of_the_base_class():
    base = MultiExitBackbone()
    for call in (base.init_state, base.step, lambda x: base.select(x, x)):
        with pytest.raises(NotImplementedError):
            call(None)
    assert isinstance(base, nn.Module) and base.exit_index is None
