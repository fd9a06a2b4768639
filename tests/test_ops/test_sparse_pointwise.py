"""The masked 1x1 convolution of RegNetY's exact mode."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dynnet.ops import upsample_mask
from dynnet.ops.sparse_conv import (
    BackendUnavailableError,
    FoldedConv,
    sparse_pointwise,
    unavailable,
)

HERE = [name for name in ('cpp', 'mkldnn', 'torch', 'dense') if not unavailable(name)]


def make_conv(inputs: int, outputs: int) -> FoldedConv:
    weight = torch.randn(outputs, inputs, 1, 1) * inputs**-0.5
    return FoldedConv(weight, torch.randn(outputs))


@given(
    batch=st.integers(1, 4),
    channels=st.sampled_from([(48, 48), (104, 208), (5, 7), (33, 64)]),
    size=st.tuples(st.integers(1, 12), st.integers(1, 12)),
    density=st.sampled_from([0.0, 0.4, 1.0]),
    last=st.booleans(),
    seed=st.integers(0, 999),
)
@settings(max_examples=40, deadline=None)
def test_backends_equal_the_formula(batch, channels, size, density, last, seed):
    torch.manual_seed(seed)
    conv = make_conv(*channels)
    x = torch.randn(batch, channels[0], *size)
    identity = torch.randn(batch, channels[1], *size)
    if last:
        x = x.contiguous(memory_format=torch.channels_last)
        identity = identity.contiguous(memory_format=torch.channels_last)
    mask = torch.rand(batch, max(1, size[0] // 2), max(1, size[1] // 2)) < density
    full = upsample_mask(mask, size)[:, None]
    expected = (identity + conv.dense(x) * full).relu()
    before = x.clone(), identity.clone()
    with torch.no_grad():
        for backend in (*HERE, 'auto'):
            out = sparse_pointwise(x, mask, conv, identity, backend)
            assert torch.allclose(out, expected, rtol=1e-4, atol=1e-4), backend
            assert torch.equal(x, before[0]) and torch.equal(identity, before[1])
            owned = identity.clone(memory_format=torch.preserve_format)
            out = sparse_pointwise(x, mask, conv, owned, backend, inplace=True)
            assert torch.allclose(out, expected, rtol=1e-4, atol=1e-4), backend


@pytest.mark.parametrize('backend', HERE)
def test_nan_passes(backend):
    conv = make_conv(4, 4)
    x, identity = torch.ones(1, 4, 3, 3), torch.zeros(1, 4, 3, 3)
    x[0, 0, 0, 0] = x[0, 0, 2, 2] = identity[0, 1, 1, 1] = float('nan')
    mask = torch.zeros(1, 3, 3)
    mask[0, 0] = 1
    with torch.no_grad():
        out = sparse_pointwise(x, mask, conv, identity, backend)
    assert out[0, :, 0, 0].isnan().all() and out.isnan().sum() == 5


def test_gradients():
    conv = make_conv(6, 5)
    tensors = [torch.randn(2, c, 4, 4, requires_grad=True) for c in (6, 5)]
    mask = torch.rand(2, 2, 2) < 0.5
    grads = [
        torch.autograd.grad(
            sparse_pointwise(tensors[0], mask, conv, tensors[1], backend)
            .square()
            .sum(),
            tensors,
        )
        for backend in ('auto', 'dense')
    ]
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(*grads))
    for backend in set(HERE) & {'cpp', 'mkldnn'}:
        with pytest.raises(BackendUnavailableError, match='without gradients'):
            sparse_pointwise(tensors[0], mask, conv, tensors[1], backend)


def test_bad_input_is_named():
    conv = make_conv(6, 5)
    x, identity, mask = (
        torch.zeros(1, 6, 4, 4),
        torch.zeros(1, 5, 4, 4),
        torch.ones(1, 2, 2),
    )
    cases = [
        ((x, mask, conv, x), ValueError, 'identity'),
        ((x[:, :3], mask, conv, identity), ValueError, 'identity'),
        ((x, mask[0], conv, identity), ValueError, 'mask of 1 images'),
        ((x, torch.ones(1, 9, 2), conv, identity), ValueError, 'does not fit'),
        ((x.half(), mask, conv, identity), TypeError, 'differ in type'),
        ((x, mask, conv, identity, 'mmcv'), ValueError, "no backend 'mmcv'"),
    ]
    for arguments, error, message in cases:
        with pytest.raises(error, match=message):
            sparse_pointwise(*arguments)
    with torch.no_grad():
        assert len(sparse_pointwise(x[:0], mask[:0], conv, identity[:0])) == 0
