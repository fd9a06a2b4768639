"""Folded inference of the two units: equal to the plain forward, and never stale."""

import copy
import io
import pickle

import pytest
import torch
from torch import nn

import dynnet.models.layers.conv_bn as conv_bn
from dynnet.models.layers import Bottleneck, ConvBNReLU, SharedPointwise
from dynnet.utils.errors import ConfigError

UNITS = {
    '3x3': lambda: ConvBNReLU(6, 5),
    '3x3 strided, with bias': lambda: ConvBNReLU(6, 5, stride=2, bias=True),
    '1x1': lambda: ConvBNReLU(6, 5, 1),
    'bottleneck': lambda: Bottleneck(6, 4, 2),
    'bottleneck strided': lambda: Bottleneck(6, 4, 2, stride=2),
    'no bottleneck': lambda: Bottleneck(6, 4, None),
}


def settle(unit, seed=0):
    """Weights and statistics for which folding matters."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for module in unit.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.weight.uniform_(0.5, 1.5)
                module.bias.normal_()
                module.running_mean.normal_()
                module.running_var.uniform_(0.5, 2)
            elif isinstance(module, nn.Conv2d):
                module.weight.normal_(0, 0.3)
    return unit.eval()


@pytest.fixture(params=UNITS)
def unit(request):
    return settle(UNITS[request.param]())


def pictures(n=3, dtype=torch.float32):
    return torch.randn(n, 6, 8, 8, generator=torch.Generator().manual_seed(1)).to(dtype)


def plain(unit, x):
    return unit.net(x).detach()


@torch.no_grad()
def folded(unit, x):
    return unit(x)


def assert_same(unit, x, **tolerance):
    torch.testing.assert_close(folded(unit, x), plain(unit, x), **tolerance)


@pytest.fixture
def folds(monkeypatch):
    """Count how often a pair is folded."""
    calls = []
    original = conv_bn.FoldCache.get.__globals__['fold_conv_bn']
    monkeypatch.setattr(
        'dynnet.utils.folding.fold_conv_bn',
        lambda conv, bn: calls.append(conv) or original(conv, bn),
    )
    return calls


@pytest.mark.parametrize('n', [0, 1, 2, 5])
def test_equals_the_plain_forward(unit, n, folds):
    x = pictures(n)
    before = x.clone()
    assert_same(unit, x)
    assert len(folds) == len(unit.net) // 3
    assert torch.equal(x, before)


def test_reads_prefixes_of_wider_buffers_and_channels_last(unit):
    buffer = torch.randn(4, 9, 8, 8)
    for x in (buffer[:, :6], buffer[:1, :6]):
        assert_same(unit, x)
        assert_same(unit, x.contiguous(memory_format=torch.channels_last))
    infer = folded(lambda x: unit.infer(x).relu(), buffer[:, :6])
    assert torch.equal(infer, folded(unit, buffer[:, :6]))


def test_folds_once_for_unchanged_weights(unit, folds):
    for _ in range(3):
        folded(unit, pictures())
    assert len(folds) == len(unit.net) // 3


@pytest.mark.parametrize('how', ['train', 'grad', 'autocast', 'autocast inference'])
def test_plain_path(unit, how, folds):
    x, reference = pictures(), plain(unit, pictures())
    if how == 'train':
        unit.train()
        with torch.no_grad():
            unit(x)
    elif how == 'grad':
        assert torch.equal(unit(x), reference)
    else:
        mode = torch.no_grad if how == 'autocast' else torch.inference_mode
        with mode(), torch.autocast('cpu', torch.bfloat16):
            out = unit(x)
            assert torch.equal(out, unit.net(x))
        assert out.dtype == torch.bfloat16
    assert not folds


def test_a_traced_unit_keeps_its_batch_norm(unit):
    with torch.no_grad():
        traced = torch.jit.trace(unit, pictures())
    assert 'batch_norm' in str(traced.inlined_graph)


@pytest.mark.parametrize('training', [True, False])
def test_gradients_flow(unit, training):
    unit.train(training)
    x = pictures().requires_grad_()
    unit(x).square().sum().backward()
    for tensor in (x, *unit.parameters()):
        assert tensor.grad is not None and tensor.grad.isfinite().all()
    grads = [p.grad for n, p in unit.named_parameters() if not n.endswith('bias')]
    assert all(grad.abs().sum() > 0 for grad in grads)


def _step(optimizer, **settings):
    def change(unit):
        optim = optimizer(unit.parameters(), lr=0.1, **settings)
        unit(pictures()).square().mean().backward()
        optim.step()

    return change


@torch.no_grad()
def _in_place(unit, pick):
    pick(unit.net).mul_(1.5).add_(0.1)


def _replace_conv(unit):
    conv = copy.deepcopy(unit.net[0])
    nn.init.normal_(conv.weight)
    unit.net[0] = conv


def _swap_data_as_ema_hook(unit):
    for tensor in (*unit.parameters(), *unit.buffers()):
        if tensor.is_floating_point():
            kept = tensor.data.clone()
            tensor.data.copy_(kept * 1.5)
    unit.eval()


def _train_forward(unit):
    with torch.no_grad():
        unit.train()(pictures() * 3 + 1)
    unit.eval()


def _live_statistics(unit):
    unit.net[1].train()


CHANGES = {
    'load_state_dict': lambda u: u.load_state_dict(
        settle(copy.deepcopy(u), 5).state_dict()
    ),
    'load_state_dict assign': lambda u: u.load_state_dict(
        settle(copy.deepcopy(u), 5).state_dict(), assign=True
    ),
    'sgd': _step(torch.optim.SGD, momentum=0.9),
    'adam': _step(torch.optim.Adam),
    'fused adam': _step(torch.optim.Adam, fused=True),
    'foreach sgd': _step(torch.optim.SGD, foreach=True),
    'weight in place': lambda u: _in_place(u, lambda net: net[0].weight),
    'bn weight in place': lambda u: _in_place(u, lambda net: net[-2].weight),
    'bn bias in place': lambda u: _in_place(u, lambda net: net[-2].bias),
    'mean in place': lambda u: _in_place(u, lambda net: net[1].running_mean),
    'variance in place': lambda u: _in_place(u, lambda net: net[1].running_var),
    'new parameter': lambda u: setattr(
        u.net[0], 'weight', nn.Parameter(u.net[0].weight * 2)
    ),
    'new convolution': _replace_conv,
    'swap through .data, eval()': _swap_data_as_ema_hook,
    'train forward, eval()': _train_forward,
    'a BN in train mode': _live_statistics,
    'reset_running_stats': lambda u: u.net[-2].reset_running_stats(),
}


@pytest.mark.parametrize('change', CHANGES)
def test_never_stale(unit, change):
    x = pictures()
    before = folded(unit, x)
    CHANGES[change](unit)
    after = folded(unit, x)
    assert (after - before).abs().max() > 1e-3
    torch.testing.assert_close(after, plain(unit, x))


def test_bias_of_the_convolution_is_folded_and_watched():
    unit = settle(ConvBNReLU(6, 5, bias=True))
    before = folded(unit, pictures())
    with torch.no_grad():
        unit.net[0].bias += 1
    assert (folded(unit, pictures()) - before).abs().max() > 0.1
    assert_same(unit, pictures())


def test_other_precision_and_back(unit):
    before = folded(unit, pictures())
    unit.double()
    assert folded(unit, pictures(dtype=torch.float64)).dtype == torch.float64
    assert_same(unit, pictures(dtype=torch.float64), rtol=1e-12, atol=1e-12)
    with torch.no_grad():
        unit.net[0].weight *= 2
    folded(unit, pictures(dtype=torch.float64))
    unit.float()
    assert (folded(unit, pictures()) - before).abs().max() > 1e-3
    assert_same(unit, pictures())


def test_a_copy_goes_its_own_way(unit):
    x = pictures()
    before = folded(unit, x)
    other = copy.deepcopy(unit)
    assert torch.equal(folded(other, x), before)
    _in_place(other, lambda net: net[0].weight)
    assert (folded(other, x) - before).abs().max() > 1e-3
    assert_same(other, x)
    assert torch.equal(folded(unit, x), before)


def test_pickles_start_empty(unit, folds):
    x = pictures()
    before = folded(unit, x)
    buffer = io.BytesIO()
    torch.save(unit, buffer)
    buffer.seek(0)
    copies = (
        pickle.loads(pickle.dumps(unit)),
        torch.load(buffer, weights_only=False),
    )
    for other in copies:
        folds.clear()
        assert torch.equal(folded(other, x), before)
        assert len(folds) == len(unit.net) // 3


def test_nothing_of_the_cache_is_in_the_state_dict(unit):
    folded(unit, pictures())
    assert {name.split('.')[0] for name in unit.state_dict()} == {'net'}


def test_weights_made_in_inference_mode():
    x = pictures()
    with torch.inference_mode():
        unit = settle(Bottleneck(6, 4, 2))
        before = unit(x)
        torch.testing.assert_close(before, unit.net(x))
        unit.net[0].weight.mul_(2)
        after = unit(x)
        assert (after - before).abs().max() > 1e-3
        torch.testing.assert_close(after, unit.net(x))
    torch.testing.assert_close(folded(unit, x), after)


def test_weights_given_for_one_call(unit):
    x = pictures()
    folded(unit, x)
    other = {n: t * 1.5 for n, t in unit.state_dict().items()}
    with torch.no_grad():
        out = torch.func.functional_call(unit, other, (x,))
    with torch.enable_grad():
        expected = torch.func.functional_call(unit, other, (x,))
    torch.testing.assert_close(out, expected.detach())


def test_parametrised_weights(unit):
    torch.nn.utils.parametrizations.weight_norm(unit.net[0])
    assert_same(unit, pictures())
    with torch.no_grad():
        unit.net[0].parametrizations.weight.original0 *= 2
    assert_same(unit, pictures())


def test_a_batch_norm_without_running_statistics(unit):
    unit.net[1] = nn.BatchNorm2d(unit.net[1].num_features, track_running_stats=False)
    unit.eval()
    assert_same(unit, pictures())


def test_inner_width_follows_the_unit():
    def convs(unit):
        return [tuple(m.weight.shape) for m in unit.net if isinstance(m, nn.Conv2d)]

    assert convs(Bottleneck(20, 3, 4)) == [(12, 20, 1, 1), (3, 12, 3, 3)]
    assert convs(Bottleneck(8, 3, 4)) == [(8, 8, 1, 1), (3, 8, 3, 3)]
    assert convs(Bottleneck(8, 3, None)) == [(3, 8, 3, 3)]


def test_no_output_channels():
    for build in (lambda: ConvBNReLU(4, 0), lambda: Bottleneck(4, 0, 2)):
        with pytest.raises(ConfigError, match='4 channels has no output channel'):
            build()


@pytest.fixture
def pair():
    first, second = settle(Bottleneck(6, 4, 2)), settle(Bottleneck(6, 3, 2, 2), 7)
    return first, second, SharedPointwise()


@torch.no_grad()
def both(pair, x):
    first, second, shared = pair
    a, b = shared(first, second, x)
    return first.infer_from(a).relu(), second.infer_from(b).relu()


@pytest.mark.parametrize('n', [0, 1, 4])
def test_shared_product(pair, n):
    x = torch.randn(n, 9, 8, 8)[:, :6]
    for got, unit in zip(both(pair, x), pair):
        torch.testing.assert_close(got, plain(unit, x))


@pytest.mark.parametrize('changed', [0, 1])
@pytest.mark.parametrize(
    'change', ['weight in place', 'mean in place', 'swap through .data, eval()']
)
def test_shared_product_is_never_stale(pair, changed, change):
    x = pictures()
    before = both(pair, x)
    copied = copy.deepcopy(pair)
    CHANGES[change](pair[changed])
    after = both(pair, x)
    assert (after[changed] - before[changed]).abs().max() > 1e-3
    for got, unit in zip(after, pair):
        torch.testing.assert_close(got, plain(unit, x))
    for got, known in zip(both(copied, x), before):
        assert torch.equal(got, known)


def test_live_statistics_share_nothing(pair):
    pair[1].net[1].train()
    with torch.no_grad():
        assert pair[2](pair[0], pair[1], pictures()) is None


@pytest.mark.parametrize('n, size', [(1, 8), (3, 8), (3, 32), (1, 64)])
@pytest.mark.parametrize('layout', [torch.contiguous_format, torch.channels_last])
def test_pointwise_is_a_1x1_convolution_in_either_layout(n, size, layout):
    wide = torch.randn(n, 9, size, size).contiguous(memory_format=layout)
    x, weight, bias = wide[:, :6], torch.randn(5, 6), torch.randn(5, 1)
    expected = nn.functional.conv2d(x, weight[..., None, None], bias[:, 0])
    out = conv_bn.pointwise(x, weight, bias)
    torch.testing.assert_close(out, expected, rtol=1e-5, atol=1e-5)
    assert out.is_contiguous(memory_format=layout)
