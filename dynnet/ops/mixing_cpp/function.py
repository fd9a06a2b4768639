"""Mixing as a differentiable function on the compiled kernels."""

import ctypes
from ctypes import c_int64, c_void_p
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from ..build import BuildError, build, library_path, switched_off

SOURCES = Path(__file__).parent / 'csrc'
_NAMES = ('forward', 'grad_bank', 'grad_matrix')


@lru_cache(maxsize=1)
def load() -> ctypes.CDLL | str:
    """Return the library, compiled if need be, or why there is none."""
    path = library_path(SOURCES)
    if not path.exists():
        try:
            build(path, SOURCES)
        except BuildError as error:
            return str(error)
    try:
        library = ctypes.CDLL(str(path))
    except OSError as error:
        return f'{path} does not load: {error}'
    for name in _NAMES:
        function = getattr(library, f'dynnet_mixing_{name}')
        function.restype = None
        function.argtypes = [c_int64, *[c_void_p] * 2, *[c_int64] * 4, c_void_p]
    library.dynnet_mixing_isa.restype = c_int64
    return library


def unavailable(bank: Tensor, matrix: Tensor) -> str | None:
    """Return why the kernels cannot mix these tensors, or None.

    Compiles the library at the first call unless it is there.
    """
    if torch.compiler.is_compiling() or torch.jit.is_tracing():
        return 'a graph is made'
    if switched_off():
        return 'switched off by DYNNET_SPARSE_CPP=0'
    if not (bank.is_cpu and matrix.is_cpu and bank.dtype == matrix.dtype):
        return 'only on a CPU'
    if bank.dtype != torch.float32 or type(bank.detach()) is not Tensor:
        return 'only float32'
    if torch._C._functorch.maybe_current_level() is not None:
        return 'a functional transform is at work'
    if matrix.numel() == 0 or bank.numel() == 0:
        return 'nothing to do'
    library = load()
    return library if isinstance(library, str) else None


def _call(name: str, left: Tensor, right: Tensor, sizes: tuple, out: Tensor) -> Tensor:
    library = load()
    getattr(library, f'dynnet_mixing_{name}')(
        library.dynnet_mixing_isa(),
        left.data_ptr(),
        right.data_ptr(),
        *sizes,
        out.data_ptr(),
    )
    return out


class _MixRows(torch.autograd.Function):
    @staticmethod
    def forward(ctx, bank: Tensor, matrix: Tensor) -> Tensor:
        bank, matrix = bank.contiguous(), matrix.contiguous()
        ctx.save_for_backward(bank, matrix)
        outer, columns, inner = bank.shape
        sizes = (outer, len(matrix), columns, inner)
        out = bank.new_empty(outer, len(matrix), inner)
        return _call('forward', bank, matrix, sizes, out)

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor | None, Tensor | None]:
        bank, matrix = ctx.saved_tensors
        wants_bank, wants_matrix = ctx.needs_input_grad
        grad_bank = grad_matrix = None
        if torch.is_grad_enabled() or grad.dtype != torch.float32:
            # Gradients of gradients: products that autograd knows.
            if wants_bank:
                grad_bank = torch.matmul(matrix.t(), grad)
            if wants_matrix:
                grad_matrix = torch.einsum('ori,oki->rk', grad, bank)
            return grad_bank, grad_matrix
        grad = grad.contiguous()
        outer, columns, inner = bank.shape
        sizes = (outer, len(matrix), columns, inner)
        if wants_bank:
            grad_bank = torch.empty_like(bank)
            _call('grad_bank', grad, matrix, sizes, grad_bank)
        if wants_matrix:
            grad_matrix = torch.empty_like(matrix)
            _call('grad_matrix', grad, bank, sizes, grad_matrix)
        return grad_bank, grad_matrix


def mix_rows(bank: Tensor, matrix: Tensor) -> Tensor:
    """Multiply ``matrix`` (R, K) with every (K, I) of ``bank`` (O, K, I).

    Returns:
        (O, R, I).
    """
    return _MixRows.apply(bank, matrix)
