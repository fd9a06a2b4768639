"""The contract of ChannelStack: a concatenation, with or without a buffer."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dynnet.models.layers import ChannelStack


def maps(channels, n=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, channels, 2, 2, generator=generator)


@pytest.fixture(params=[None, 12], ids=['concatenated', 'buffer'])
def capacity(request):
    return request.param


def test_append_prefix_width(capacity):
    a, b, c = maps(2), maps(3, seed=1), maps(4, seed=2)
    stack = ChannelStack(a, capacity)
    stack.append(b)
    stack.append_relu(c)
    assert stack.width == 9
    assert torch.equal(stack.prefix(), torch.cat([a, b, c.clamp(min=0)], 1))
    for width in (2, 5, 9):
        assert torch.equal(stack.prefix(width), stack.prefix()[:, :width])


def test_what_was_handed_in_or_out_never_changes(capacity):
    a, b = maps(2), maps(3, seed=1)
    kept = a.clone(), b.clone()
    stack = ChannelStack(a, capacity)
    first = stack.prefix()
    before = first.clone()
    stack.append(b)
    second, later = stack.prefix(), stack.prefix().clone()
    stack.append_relu(maps(4, seed=2))
    selected = stack.select(torch.tensor([2, 0]))
    selected.append(maps(2, n=2, seed=3))
    stack.append(maps(2, seed=4))
    assert torch.equal(first, before) and torch.equal(second, later)
    assert torch.equal(a, kept[0]) and torch.equal(b, kept[1])
    b.zero_()
    assert torch.equal(stack.prefix(5), later)


def test_buffer_prefixes_are_views_and_appends_copy_only_what_is_new():
    stack = ChannelStack(maps(2), 12)
    first = stack.prefix()
    stack.append(maps(3, seed=1))
    assert stack.prefix().data_ptr() == first.data_ptr()


@pytest.mark.parametrize('n', [1, 3])
def test_buffer_of_a_batch_is_channels_last(n):
    stack = ChannelStack(maps(2, n=n), 12)
    stack.append(maps(3, n=n, seed=1))
    assert (stack.prefix().stride(1) == 1) == (n > 1)
    fewer = stack.select(torch.tensor([0]))
    assert fewer.prefix().stride() == stack.prefix().stride()
    assert torch.equal(fewer.prefix(), stack.prefix()[:1])


def test_select_composes_and_forks(capacity):
    stack = ChannelStack(maps(2, n=5), capacity)
    stack.append(maps(3, n=5, seed=1))
    full = stack.prefix().clone()
    one = stack.select(torch.tensor([4, 2, 2, 0]))
    two = one.select(torch.tensor([3, 1]))
    other = stack.select(torch.tensor([1]))
    new = maps(4, n=2, seed=2)
    two.append(new)
    other.append(maps(1, n=1, seed=3))
    assert torch.equal(two.prefix(), torch.cat([full[[0, 2]], new], 1))
    assert torch.equal(two.prefix(2), full[[0, 2], :2])
    assert torch.equal(one.prefix(), full[[4, 2, 2, 0]])
    assert torch.equal(stack.prefix(), full)
    assert (stack.width, one.width, two.width, other.width) == (5, 5, 9, 6)


def test_limits():
    stack = ChannelStack(maps(2), 4)
    with pytest.raises(RuntimeError):
        stack.append(maps(3))
    with pytest.raises(KeyError):
        ChannelStack(maps(2)).prefix(1)


operation = st.one_of(
    st.tuples(st.sampled_from(['append', 'append_relu']), st.integers(1, 4)),
    st.tuples(st.just('select'), st.lists(st.integers(0, 100), min_size=1, max_size=5)),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(operation, max_size=8), st.booleans())
def test_any_order_of_operations_equals_a_plain_concatenation(operations, buffered):
    expected = maps(2, n=4)
    stack = ChannelStack(expected, 40 if buffered else None)
    for seed, (name, value) in enumerate(operations):
        if name == 'select':
            index = torch.tensor(value) % len(expected)
            stack, expected = stack.select(index), expected[index]
            continue
        new = maps(value, n=len(expected), seed=seed)
        getattr(stack, name)(new)
        new = new.clamp(min=0) if name == 'append_relu' else new
        expected = torch.cat([expected, new], 1)
    assert torch.equal(stack.prefix(), expected)
