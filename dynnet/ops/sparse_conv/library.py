"""The compiled library: loading it, and the choice of its code path.

Environment variables: ``DYNNET_SPARSE_CPP=0`` switches the backend off (nothing is
compiled or loaded); ``DYNNET_SPARSE_ISA`` forces a code path: ``avx512``, ``avx2`` or
``portable``, else the best that the processor has is taken.
"""

import ctypes
import os
from ctypes import c_char_p, c_float, c_int, c_int64, c_void_p
from functools import lru_cache
from pathlib import Path

from ..build import BuildError, build, find_compiler, library_path, switched_off
from .problem import BackendUnavailableError

SOURCES = Path(__file__).parent / 'csrc'
ISAS = ('portable', 'avx2', 'avx512')


def _signature(types: str) -> list:
    kinds = {'i': c_int64, 'f': c_float, 'p': c_void_p}
    return [kinds[letter] for letter in types]


_FUNCTIONS = {
    'supported': 'i',
    'pack': 'ipiip',
    'plan': 'piippiiiiiiipppp',
    'product': 'ipipippipppii',
    'block': 'ippiipiipppiippip',
    'gate': 'ippfiiiiiip',
    'pointwise': 'ippppiippiii',
}


@lru_cache(maxsize=1)
def load() -> ctypes.CDLL | str:
    """Return the library, compiled if need be, or why there is none."""
    path = library_path(SOURCES)
    if not path.exists():
        try:
            build(path, SOURCES)
        except BuildError as error:
            from mmengine.logging import print_log

            print_log(f'the sparse kernels were not compiled: {error}', 'current')
            return str(error)
    try:
        library = ctypes.CDLL(str(path))
    except OSError as error:
        return f'{path} does not load: {error}'
    for name, types in _FUNCTIONS.items():
        function = getattr(library, f'dynnet_{name}')
        function.argtypes, function.restype = _signature(types), c_int
    library.dynnet_panel.argtypes = [c_int64]
    library.dynnet_panel.restype = c_int64
    library.dynnet_error.restype = c_char_p
    return library


def instruction_set() -> str:
    """Return the code path in use: the forced one, or the best of this processor.

    Raises:
        BackendUnavailableError: No library, or the forced one cannot run here.
    """
    return ISAS[isa()]


@lru_cache(maxsize=8)
def isa_of(forced: str | None) -> int | str:
    """Return the number of a code path (None: the best), or why it cannot run."""
    library = load()
    if isinstance(library, str):
        return library
    if not forced:
        return max(i for i in range(len(ISAS)) if library.dynnet_supported(i))
    if forced not in ISAS:
        return f'DYNNET_SPARSE_ISA={forced}: choose from {", ".join(ISAS)}'
    number = ISAS.index(forced)
    if not library.dynnet_supported(number):
        return f'DYNNET_SPARSE_ISA={forced}: this processor has none'
    return number


def forced_isa() -> str | None:
    """Return the code path that the environment asks for."""
    return os.environ.get('DYNNET_SPARSE_ISA')


def isa() -> int:
    """Return the number of the code path in use, an index into :data:`ISAS`.

    Raises:
        BackendUnavailableError: No library, or the forced one cannot run here.
    """
    number = isa_of(forced_isa())
    if isinstance(number, str):
        raise BackendUnavailableError(number)
    return number


def describe() -> str:
    """Say in a few words what the backend is, without compiling anything."""
    if switched_off():
        return 'off (DYNNET_SPARSE_CPP=0)'
    if library_path(SOURCES).exists():
        number = isa_of(forced_isa())
        return f'compiled, {ISAS[number]}' if isinstance(number, int) else number
    if find_compiler() is None:
        return 'no C++ compiler (g++, c++, clang++ or CXX)'
    return 'compiled at first use'


def call(name: str, *args: int | float | None) -> None:
    """Call ``dynnet_NAME``; what it says went wrong is raised."""
    library = load()
    if getattr(library, f'dynnet_{name}')(*args):
        raise RuntimeError(library.dynnet_error().decode())
