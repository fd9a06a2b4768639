"""fold_conv_bn is exact, the cache notices every change."""

import copy
import pickle

import pytest
import torch
from torch import nn

from dynnet.utils.folding import FoldCache, can_fold, fold_conv_bn


def pair(bias=False, groups=1, affine=True, dtype=torch.float64):
    torch.manual_seed(0)
    conv = nn.Conv2d(4, 6, 3, padding=1, bias=bias, groups=groups)
    bn = nn.BatchNorm2d(6, eps=0.1, affine=affine)
    bn.running_mean.normal_()
    bn.running_var.uniform_(0.1, 3)
    if affine:
        nn.init.normal_(bn.weight)
        nn.init.normal_(bn.bias)
    return conv.to(dtype).eval(), bn.to(dtype).eval()


@pytest.mark.parametrize('bias', [False, True])
@pytest.mark.parametrize('groups', [1, 2])
@pytest.mark.parametrize('affine', [False, True])
def test_fold(bias, groups, affine):
    conv, bn = pair(bias, groups, affine)
    weight, shift = fold_conv_bn(conv, bn)
    x = torch.randn(2, 4, 5, 5, dtype=torch.float64)
    got = torch.nn.functional.conv2d(x, weight, shift, padding=1, groups=groups)
    torch.testing.assert_close(got, bn(conv(x)).detach(), rtol=1e-10, atol=1e-10)
    assert not weight.requires_grad and not shift.requires_grad


def test_fold_by_hand():
    conv, bn = nn.Conv2d(1, 1, 1), nn.BatchNorm2d(1, eps=0)
    for tensor, value in [
        (conv.weight, 3),
        (conv.bias, 5),
        (bn.running_mean, 2),
        (bn.running_var, 4),
        (bn.weight, 6),
        (bn.bias, 7),
    ]:
        tensor.data.fill_(value)
    weight, shift = fold_conv_bn(conv, bn)  # (3x + 5 - 2) / 2 * 6 + 7
    assert weight.item() == 9 and shift.item() == 16


def test_statistics_are_needed():
    with pytest.raises(ValueError, match='running statistics'):
        fold_conv_bn(nn.Conv2d(2, 2, 1), nn.BatchNorm2d(2, track_running_stats=False))


def test_can_fold():
    module, x = nn.Linear(1, 1).eval(), torch.zeros(1)
    assert not can_fold(module, x)  # gradients are on
    with torch.inference_mode():
        assert can_fold(module, x)
    with torch.no_grad():
        assert can_fold(module, x)
        assert not can_fold(module.train(), x)
        module.eval()
        with torch.autocast('cpu', torch.bfloat16):
            assert not can_fold(module, x)
        assert not can_fold(module, x.to('meta'))
        seen = []
        torch.jit.trace(lambda x: seen.append(can_fold(module, x)) or x + 1, x)
        assert seen[0] is False
        assert can_fold(module, x)


def test_exported_programs_keep_the_plain_forward():
    """torch.export traces with gradients off as well."""
    seen = []

    class Net(nn.Module):
        def forward(self, x):
            seen.append(can_fold(self, x))
            return x + 1

    with torch.no_grad():
        torch.export.export(Net().eval(), (torch.zeros(2),))
    assert seen and not any(seen)


def test_cache_keeps_what_prepare_made():
    (conv, bn), cache, calls = pair(), FoldCache(), []

    def prepare(value):
        calls.append(value)
        return (value[0].flatten(1), *value)

    first = cache.get(conv, bn, prepare)
    assert cache.get(conv, bn, prepare) is first
    assert len(calls) == 1 and len(first) == 3
    cache.clear()
    second = cache.get(conv, bn, prepare)
    assert second is not first and torch.equal(second[0], first[0])


@pytest.mark.parametrize(
    'source',
    [
        'conv.weight',
        'conv.bias',
        'bn.weight',
        'bn.bias',
        'bn.running_mean',
        'bn.running_var',
    ],
)
@pytest.mark.parametrize('how', ['in place', 'replaced'])
def test_cache_notices(source, how):
    (conv, bn), cache = pair(bias=True), FoldCache()
    before = cache.get(conv, bn)
    owner, name = (conv if source[0] == 'c' else bn), source.split('.')[1]
    with torch.no_grad():
        tensor = getattr(owner, name)
        if how == 'in place':
            tensor.add_(1)
        elif isinstance(tensor, nn.Parameter):
            setattr(owner, name, nn.Parameter(tensor + 1))
        else:
            setattr(owner, name, tensor + 1)
    after = cache.get(conv, bn)
    assert any(not torch.equal(a, b) for a, b in zip(before, after))
    for got, expected in zip(after, fold_conv_bn(conv, bn)):
        assert torch.equal(got, expected)


def test_cache_notices_another_pair():
    cache, one = FoldCache(), pair()
    two = copy.deepcopy(one)
    nn.init.zeros_(two[0].weight)
    cache.get(*one)
    assert cache.get(*two)[0].abs().max() == 0


def test_copies_and_pickles_are_empty():
    (conv, bn), cache = pair(), FoldCache()
    value = cache.get(conv, bn)
    for other in (copy.deepcopy(cache), pickle.loads(pickle.dumps(cache))):
        assert type(other) is FoldCache
        again = other.get(conv, bn)
        assert again is not value and torch.equal(again[0], value[0])
    assert cache.get(conv, bn) is value


def test_weights_without_a_version_are_never_reused():
    with torch.inference_mode():
        (conv, bn), cache = pair(), FoldCache()
        first = cache.get(conv, bn)
        conv.weight.mul_(2)
        torch.testing.assert_close(cache.get(conv, bn)[0], 2 * first[0])
    (conv, bn), cache = pair(), FoldCache()
    torch.nn.utils.parametrizations.weight_norm(conv)
    with torch.no_grad():
        first = cache.get(conv, bn)
        conv.parametrizations.weight.original0.mul_(2)
        torch.testing.assert_close(cache.get(conv, bn)[0], 2 * first[0])
