"""Upsampling and dilation of masks, against the definitions written out."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from dynnet.ops import coarse_size, dilate_mask, upsample_mask


@pytest.mark.parametrize(
    ('size', 'granularity', 'expected'),
    [((56, 56), 4, (14, 14)), ((14, 10), 4, (3, 2)), ((3, 9), 7, (1, 1))],
)
def test_coarse_size_floors_and_stays_positive(size, granularity, expected):
    assert coarse_size(size, granularity) == expected


def test_coarse_size_refuses_zero():
    with pytest.raises(ValueError, match='granularity must be at least 1, not 0'):
        coarse_size((8, 8), 0)


@given(
    h=st.integers(1, 9),
    w=st.integers(1, 9),
    more=st.tuples(st.integers(0, 20), st.integers(0, 20)),
    kind=st.sampled_from([torch.bool, torch.uint8, torch.float32]),
)
@settings(max_examples=40, deadline=None)
def test_upsampling_is_torchs_nearest(h, w, more, kind):
    mask = torch.rand(2, h, w) < 0.5
    size = (h + more[0], w + more[1])
    expected = F.interpolate(mask[:, None].float(), size=size, mode='nearest')
    for given_mask in (mask, mask[:, None].expand(2, 3, h, w)):
        out = upsample_mask(given_mask.to(kind), size)
        assert out.dtype == kind
        shaped = expected if out.dim() == 4 else expected[:, 0]
        assert torch.equal(out.float(), shaped.expand_as(out))


def test_upsampling_passes_gradients_and_keeps_a_full_mask():
    mask = torch.rand(1, 2, 2, requires_grad=True)
    upsample_mask(mask, (4, 6)).sum().backward()
    assert torch.equal(mask.grad, torch.full((1, 2, 2), 6.0))
    assert upsample_mask(mask, (2, 2)) is mask


@pytest.mark.parametrize('shape', [(1, 5, 4), (1, 4, 5), (1, 0, 4), (4, 4)])
def test_a_mask_that_does_not_fit_is_refused(shape):
    with pytest.raises(ValueError, match='mask'):
        upsample_mask(torch.zeros(shape), (4, 4))


@given(
    hi=st.integers(1, 9),
    wi=st.integers(1, 9),
    stride=st.sampled_from([1, 2]),
    dilation=st.sampled_from([1, 2]),
    groups=st.integers(1, 3),
    seed=st.integers(0, 999),
)
@settings(max_examples=60, deadline=None)
def test_dilation_marks_what_a_convolution_reads(
    hi, wi, stride, dilation, groups, seed
):
    """An input position is needed if an active output has a gradient to it."""
    generator = torch.Generator().manual_seed(seed)
    h, w = -(-hi // stride), -(-wi // stride)
    mask = torch.rand(2, groups, h, w, generator=generator) < 0.3
    x = torch.ones(2, 1, hi, wi, requires_grad=True)
    y = F.conv2d(x, torch.ones(1, 1, 3, 3), None, stride, dilation, dilation)
    (y * mask.any(1, keepdim=True)).sum().backward()
    out = dilate_mask(mask, stride, (hi, wi), dilation)
    assert out.dtype == torch.bool and torch.equal(out, x.grad > 0)
    one = dilate_mask(mask.any(1).float(), stride, (hi, wi), dilation)
    assert torch.equal(one, out[:, 0].float())


def test_dilation_of_a_straight_through_sample():
    """Values within rounding of 0 and 1; no gradient; twice the size by default."""
    mask = torch.tensor([[[1 - 1e-7, 1e-8], [1e-8, 1e-8]]], requires_grad=True)
    out = dilate_mask(mask, 2)
    expected = torch.zeros(4, 4)
    expected[:2, :2] = 1
    assert torch.equal(out[0], expected) and not out.requires_grad


def test_dilation_refuses_sizes_that_do_not_belong_together():
    with pytest.raises(ValueError, match='a map of 7x8 at stride 2 gives no 3x4'):
        dilate_mask(torch.zeros(1, 3, 4), 2, (7, 8))
