"""Compiled mixing of kernels against plain products."""

import pytest
import torch

from dynnet.ops import mixing_cpp
from dynnet.ops.kernel_mixing import allocate_kernels, apply_mixing

REASON = mixing_cpp.unavailable(torch.zeros(1), torch.zeros(1))
needs_cpp = pytest.mark.skipif(REASON is not None, reason=f'no kernels: {REASON}')
# O, R, K, I: inner axes that fill vectors, leave a rest, and are shorter than one.
SIZES = [(5, 9, 36, 128), (4, 18, 36, 37), (3, 4, 7, 300), (2, 1, 1, 3)]


def problem(size: tuple[int, int, int, int]) -> tuple[torch.Tensor, torch.Tensor]:
    out, rows, columns, inner = size
    torch.manual_seed(0)
    matrix = torch.randn(rows, columns)
    matrix[torch.rand(rows, columns) < 0.5] = 0
    return torch.randn(out, columns, inner), matrix


@needs_cpp
@pytest.mark.parametrize('size', SIZES)
def test_results_and_gradients_are_those_of_the_product(size):
    bank, matrix = (t.requires_grad_() for t in problem(size))
    ours = mixing_cpp.mix_rows(bank, matrix)
    theirs = torch.matmul(matrix.double(), bank.double())
    torch.testing.assert_close(ours.double(), theirs, rtol=1e-5, atol=1e-5)
    grad = torch.randn_like(ours)
    found = torch.autograd.grad(ours, (bank, matrix), grad)
    expected = torch.autograd.grad(theirs, (bank, matrix), grad.double())
    for a, b in zip(found, expected):
        # A zero of the matrix has a gradient like any other entry.
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


@needs_cpp
def test_gradients_of_gradients():
    bank, matrix = (t.requires_grad_() for t in problem(SIZES[1]))

    def penalty(product):
        mixed = product(bank, matrix)
        (slope,) = torch.autograd.grad(mixed.pow(3).sum(), matrix, create_graph=True)
        return torch.autograd.grad(slope.pow(2).sum(), bank)[0]

    ours = penalty(mixing_cpp.mix_rows)
    theirs = penalty(lambda bank, matrix: torch.matmul(matrix, bank))
    assert (ours - theirs).abs().max() <= 1e-4 * theirs.abs().max()


@needs_cpp
def test_not_a_number_is_not_lost():
    bank, matrix = problem(SIZES[0])
    bank[1, 2, 3] = matrix[4, 5] = float('nan')
    mixed = mixing_cpp.mix_rows(bank, matrix)
    assert mixed[:, 4].isnan().all()
    used = matrix[:, 2] != 0
    assert used.any() and mixed[1, used, 3].isnan().all()


def test_other_ways_give_the_same(monkeypatch):
    """Whether the kernels are there, and for a type that they do not know."""
    torch.manual_seed(0)
    weight = allocate_kernels(4, 6, 20, (3, 3)).normal_()
    mixing = torch.randn(2, 9, 4, 9)
    here = apply_mixing(weight, mixing)
    monkeypatch.setenv('DYNNET_SPARSE_CPP', '0')
    assert 'switched off' in mixing_cpp.unavailable(weight, mixing)
    torch.testing.assert_close(here, apply_mixing(weight, mixing), rtol=1e-4, atol=1e-5)
    monkeypatch.delenv('DYNNET_SPARSE_CPP')
    assert mixing_cpp.unavailable(weight.double(), mixing.double()) == 'only float32'
    double = apply_mixing(weight.double(), mixing.double())
    torch.testing.assert_close(here.double(), double, rtol=1e-4, atol=1e-5)


def test_graphs_and_transforms_take_products():
    weight = allocate_kernels(2, 3, 5, (3, 3)).normal_()
    mixing = torch.randn(1, 9, 2, 9)
    mapped = torch.func.vmap(lambda m: apply_mixing(weight, m[None])[0])(mixing)
    torch.testing.assert_close(mapped, apply_mixing(weight, mixing))
    traced = torch.jit.trace(apply_mixing, (weight, mixing))
    assert 'matmul' in str(traced.graph)
