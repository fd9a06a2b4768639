"""Every backend gives what the block's own layers give when masked."""

import copy

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from dynnet.ops import coarse_size
from dynnet.ops.sparse_conv import (
    BackendUnavailableError,
    FoldedBlockCache,
    FoldedConv,
    fold_block,
    run_blocks,
    sparse_block,
    unavailable,
)

HERE = [name for name in ('cpp', 'mkldnn', 'torch', 'dense') if not unavailable(name)]
SHARED = [HealthCheck.function_scoped_fixture]


def close(out: torch.Tensor, expected: torch.Tensor) -> bool:
    """Within 1e-4 of the largest value, and shaped alike."""
    scale = expected.abs().max().clamp_min(1e-6) if expected.numel() else 1
    return out.shape == expected.shape and bool(
        ((out - expected).abs() <= 1e-4 * scale).all()
    )


@given(
    batch=st.integers(1, 8),
    size=st.tuples(st.integers(1, 15), st.integers(1, 15)),
    granularity=st.sampled_from([1, 2, 3, 4, 7]),
    density=st.sampled_from([0.0, 0.1, 0.5, 0.9, 1.0]),
    layout=st.sampled_from(['nchw', 'channels_last', 'strided']),
    seed=st.integers(0, 10**6),
)
@settings(max_examples=25, deadline=None, suppress_health_check=SHARED)
def test_backends_equal_the_masked_dense_form(
    blocks, reference, kind, batch, size, granularity, density, layout, seed
):
    block = blocks[kind]
    folded = fold_block(block)
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(batch, folded.in_channels, *size, generator=generator)
    if layout == 'channels_last':
        x = x.contiguous(memory_format=torch.channels_last)
    elif layout == 'strided':
        x = x.repeat_interleave(2, 3)[..., ::2]
    grid = coarse_size(folded.out_size(size), granularity)
    mask = torch.rand(batch, *grid, generator=generator) < density
    before = x.clone()
    with torch.no_grad():
        expected = reference(block, x, mask)
        for backend in (*HERE, 'auto'):
            out = sparse_block(x, mask, folded, backend, workspace=8 << 10)
            assert close(out, expected), backend
            assert torch.equal(x, before), backend
            assert out.is_contiguous(memory_format=torch.channels_last)
            x0 = x.clone(memory_format=torch.preserve_format).relu_()
            out = sparse_block(x0, mask[:, None].float(), folded, backend, inplace=True)
            assert close(out, reference(block, x.relu(), mask)), backend


@pytest.mark.parametrize('backend', HERE)
def test_what_is_not_computed_is_never_read(blocks, backend, kind, monkeypatch):
    """Fresh memory holds NaN: none of it reaches the output."""
    empty = torch.empty
    like = torch.Tensor.new_empty

    def poisoned(make):
        def call(*args, **kwargs):
            out = make(*args, **kwargs)
            return out.fill_(float('nan')) if out.is_floating_point() else out

        return call

    folded = fold_block(blocks[kind])
    x = torch.randn(2, folded.in_channels, 9, 8)
    mask = torch.rand(2, *folded.out_size((9, 8))) < 0.3
    with torch.no_grad():
        expected = sparse_block(x, mask, folded, backend)
        monkeypatch.setattr(torch, 'empty', poisoned(empty))
        monkeypatch.setattr(torch.Tensor, 'new_empty', poisoned(like))
        out = sparse_block(x, mask, folded, backend)
    assert torch.equal(out, expected) and out.isfinite().all()


@pytest.mark.parametrize('backend', HERE)
@pytest.mark.parametrize('value', [float('nan'), float('inf'), -float('inf')])
def test_nan_stays_nan_and_stays_where_it_is_let_out(blocks, reference, backend, value):
    block = blocks['plain']
    folded = fold_block(block)
    x = torch.randn(1, folded.in_channels, 9, 9).relu()
    x[0, 3, 4, 4] = value
    mask = torch.zeros(1, 9, 9, dtype=torch.bool)
    mask[0, 3:5, :5] = True
    with torch.no_grad():
        expected = reference(block, x, mask)
        out = sparse_block(x, mask, folded, backend)
    assert torch.equal(out.isnan(), expected.isnan())
    assert torch.equal(out.isinf(), expected.isinf())
    assert (out.isnan().any() and out[0, :, 6].isfinite().all()) or value < 0


@pytest.mark.parametrize('backend', ['torch', 'dense'])
def test_gradients_equal_the_masked_dense_form(blocks, reference, backend, kind):
    block = blocks[kind]
    folded = fold_block(block)
    convs = [*folded.convs, *([folded.shortcut] if folded.shortcut else [])]
    x = torch.randn(2, folded.in_channels, 7, 6, requires_grad=True)
    mask = torch.rand(2, *folded.out_size((7, 6))) < 0.5
    reference(block, x, mask).square().sum().backward()
    expected, x.grad = x.grad, None
    for conv in convs:
        conv.weight.requires_grad_()
    sparse_block(x, mask, folded, backend, workspace=4 << 10).square().sum().backward()
    assert close(x.grad, expected)
    assert all(conv.weight.grad.isfinite().all() for conv in convs)


def test_gradients_of_weights_agree(blocks):
    """Of the folded tensors, between the two differentiable backends."""
    folded = fold_block(blocks['plain'])
    weights = [conv.weight.requires_grad_() for conv in folded.convs]
    x, mask = torch.randn(1, folded.in_channels, 6, 6), torch.rand(1, 6, 6) < 0.5
    grads = []
    for backend in ('torch', 'dense'):
        out = sparse_block(x, mask, folded, backend)
        grads.append(torch.autograd.grad(out.square().sum(), weights))
    assert all(close(a, b) for a, b in zip(*grads))


@pytest.mark.parametrize('backend', [b for b in HERE if b in ('cpp', 'mkldnn')])
def test_a_gradient_is_refused_by_what_has_none(blocks, backend):
    folded = fold_block(blocks['plain'])
    x = torch.randn(1, folded.in_channels, 4, 4, requires_grad=True)
    with pytest.raises(BackendUnavailableError, match='no gradient'):
        sparse_block(x, torch.ones(1, 4, 4), folded, backend)
    assert sparse_block(x, torch.ones(1, 4, 4), folded).requires_grad


@pytest.mark.parametrize(
    ('x', 'mask', 'error', 'message'),
    [
        (torch.zeros(1, 5, 4, 4), torch.ones(1, 4, 4), ValueError, r'\(B, 24, H, W\)'),
        (torch.zeros(24, 4, 4), torch.ones(1, 4, 4), ValueError, r'\(B, 24, H, W\)'),
        (torch.zeros(1, 24, 4, 4).half(), torch.ones(1, 4, 4), TypeError, 'float16'),
        (torch.zeros(1, 24, 4, 4).double(), torch.ones(1, 4, 4), TypeError, 'float64'),
        (torch.zeros(1, 24, 4, 4), torch.ones(1, 5, 4), ValueError, '5x4 does not fit'),
        (torch.zeros(1, 24, 4, 4), torch.ones(1, 0, 4), ValueError, '0x4 does not fit'),
        (torch.zeros(2, 24, 4, 4), torch.ones(1, 4, 4), ValueError, 'of 2 images'),
        (torch.zeros(1, 24, 4, 4), torch.ones(1, 2, 4, 4), ValueError, 'of 1 images'),
        (torch.zeros(1, 24, 0, 4), torch.ones(1, 1, 1), ValueError, 'no pixels'),
    ],
)
@pytest.mark.parametrize('backend', [*HERE, 'auto'])
def test_bad_input_is_named(blocks, backend, x, mask, error, message):
    with pytest.raises(error, match=message):
        sparse_block(x, mask, fold_block(blocks['plain']), backend)


@pytest.mark.parametrize('backend', [*HERE, 'auto'])
def test_no_image_gives_no_image(blocks, kind, backend):
    folded = fold_block(blocks[kind])
    x = torch.zeros(0, folded.in_channels, 8, 8)
    with torch.no_grad():
        out = sparse_block(x, torch.ones(0, 2, 2), folded, backend)
    assert out.shape == (0, folded.out_channels, *folded.out_size((8, 8)))


def test_unknown_and_impossible_backends(blocks):
    folded = fold_block(blocks['plain'])
    x, mask = torch.zeros(1, 24, 4, 4), torch.ones(1, 4, 4)
    with pytest.raises(ValueError, match="no backend 'cuda': choose from auto, cpp"):
        sparse_block(x, mask, folded, 'cuda')
    with pytest.raises(BackendUnavailableError, match="backend 'mmcv' cannot run this"):
        sparse_block(x, mask, folded, 'mmcv')


@pytest.mark.parametrize('backend', ['torch', 'dense'])
def test_other_floating_types(make, reference, backend):
    block = make('Bottleneck', (24, 24)).double()
    x, mask = torch.randn(2, 24, 6, 6).double(), torch.rand(2, 3, 3) < 0.5
    with torch.no_grad():
        out = sparse_block(x, mask, fold_block(block), backend)
    assert torch.allclose(out, reference(block, x, mask))


def test_a_rule_picks_the_backend(blocks):
    asked = []

    def rule(problem):
        asked.append((problem.density, problem.out_size, problem.batch))
        return 'dense'

    mask = torch.tensor([[[True, False]], [[False, False]]])
    x = torch.zeros(2, 24, 4, 6)
    sparse_block(x, mask, fold_block(blocks['plain']), rule=rule)
    assert asked == [(0.25, (4, 6), 2)]


def test_groups_run_dense_only(make, reference):
    block = make('Bottleneck', (24, 24))
    block.conv2 = nn.Conv2d(6, 6, 3, padding=1, groups=2, bias=False)
    folded = fold_block(block)
    x, mask = torch.randn(1, 24, 5, 5), torch.rand(1, 5, 5) < 0.5
    with torch.no_grad():
        assert close(sparse_block(x, mask, folded), reference(block, x, mask))
        for backend in set(HERE) - {'dense'}:
            with pytest.raises((ValueError, BackendUnavailableError), match='grouped'):
                sparse_block(x, mask, folded, backend)


# Folding


def test_the_folded_block_is_kept_until_something_changes(make, reference):
    block, cache = make('Bottleneck', (16, 24)), FoldedBlockCache()
    x, mask = torch.randn(1, 16, 5, 5), torch.rand(1, 5, 5) < 0.7
    with torch.no_grad():
        first = cache.get(block)
        sparse_block(x, mask, first)
        assert cache.get(block) is first
        for change in (
            lambda: block.conv2.weight.mul_(1.5),
            lambda: block.norm3.running_mean.add_(0.5),
            lambda: block.downsample[1].bias.sub_(0.5),
            lambda: setattr(block, 'conv1', nn.Conv2d(16, 6, 1, bias=False)),
        ):
            change()
            again = cache.get(block)
            assert again is not first
            out = sparse_block(x, mask, again)
            assert close(out, reference(block, x, mask))
            first = again
    block.conv3.weight.data.mul_(2)  # leaves no trace, hence clear()
    cache.clear()
    assert cache.get(block) is not first
    assert copy.deepcopy(cache)._block is None


def test_folding_in_inference_mode_serves_autograd_later(make):
    block, cache = make('Bottleneck', (16, 16)), FoldedBlockCache()
    mask = torch.ones(1, 5, 5)
    with torch.inference_mode():
        for backend in HERE:
            sparse_block(torch.randn(1, 16, 5, 5), mask, cache.get(block), backend)
    x = torch.randn(1, 16, 5, 5, requires_grad=True)
    sparse_block(x, mask, cache.get(block), 'torch').sum().backward()
    assert x.grad.isfinite().all()


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda b: setattr(b, 'with_plugins', True), 'plugins'),
        (lambda b: setattr(b, 'relu', nn.SiLU()), 'no ReLU'),
        (lambda b: setattr(b, 'conv2', nn.ConvTranspose2d(6, 6, 3)), 'plain Conv2d'),
        (lambda b: setattr(b, 'conv2', nn.Conv2d(6, 6, 3)), 'pads for its kernel'),
        (lambda b: setattr(b, 'conv2', nn.Conv2d(6, 6, 5, padding=2)), 'kernels'),
        (lambda b: b.add_module('bn2', nn.GroupNorm(2, 6)), 'only BN can be folded'),
        (
            lambda b: setattr(b, 'downsample', nn.Sequential(nn.Identity())),
            'only a projection by conv and BN',
        ),
    ],
)
def test_what_cannot_be_folded_is_named(make, change, message):
    block = make('Bottleneck', (24, 24))
    change(block)
    with pytest.raises(ValueError, match=message):
        fold_block(block)


def test_torchvision_blocks_fold(reference):
    resnet = pytest.importorskip('torchvision.models.resnet')
    block = resnet.Bottleneck(16, 4).eval()
    x, mask = torch.randn(1, 16, 4, 4), torch.ones(1, 4, 4)
    with torch.no_grad():
        assert close(sparse_block(x, mask, fold_block(block)), block(x))


def test_a_block_that_changes_its_shape_needs_a_projection():
    one = FoldedConv(torch.zeros(4, 8, 1, 1), torch.zeros(4))
    three = FoldedConv(torch.zeros(4, 4, 3, 3), torch.zeros(4), 2, 1)
    from dynnet.ops.sparse_conv import FoldedBlock

    with pytest.raises(ValueError, match='without projection'):
        FoldedBlock((one, three, FoldedConv(torch.zeros(8, 4, 1, 1), torch.zeros(8))))


# Chains


@pytest.mark.parametrize('backend', HERE)
def test_a_chain_equals_its_blocks_and_spares_the_input(make, reference, backend):
    first = make('Bottleneck', (16, 24), stride=2)
    rest = [make('Bottleneck', (24, 24), seed=i) for i in range(1, 4)]
    masks = [torch.rand(2, 2, 2) < 0.5 for _ in range(4)]
    x = torch.randn(2, 16, 8, 8).relu()
    seen = []

    def gate(mask):
        return lambda x: seen.append(x.shape) or mask

    with torch.no_grad():
        expected = x
        for block, mask in zip([first, *rest], masks):
            expected = reference(block, expected, mask)
        folded = [fold_block(block) for block in (first, *rest)]
        before = x.clone()
        out, used = run_blocks(x, zip(map(gate, masks), folded), backend)
        assert close(out, expected) and torch.equal(x, before)
        assert all(a is b for a, b in zip(used, masks))
        assert seen == [(2, 16, 8, 8), *[(2, 24, 4, 4)] * 3]
        # A kept stage output is the next chain's input: not written.
        kept = out.clone()
        run_blocks(out, zip(map(gate, masks[1:]), folded[1:]), backend)
        assert torch.equal(out, kept)
        # Without gates everything is computed.
        whole, _ = run_blocks(x, [(None, block) for block in folded], backend)
        ones = torch.ones(2, 1, 1)
        expected = x
        for block in (first, *rest):
            expected = reference(block, expected, ones)
        assert close(whole, expected)


@pytest.mark.parametrize('backend', HERE)
def test_only_active_rows_are_written_in_place(make, backend):
    folded = fold_block(make('Bottleneck', (24, 24)))
    x = torch.randn(1, 24, 6, 6).relu().contiguous(memory_format=torch.channels_last)
    mask = torch.zeros(1, 6, 6)
    mask[0, :2] = 1
    before = x.clone()
    with torch.no_grad():
        out = sparse_block(x, mask, folded, backend, inplace=True)
    assert torch.equal(out[:, :, 2:], before[:, :, 2:])
    if backend != 'dense':
        assert out.data_ptr() == x.data_ptr()
