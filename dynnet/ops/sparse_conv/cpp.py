"""Placeholder of the C++ backend."""

from torch import Tensor

from .problem import BackendUnavailableError, Problem


def unavailable(problem: Problem | None = None) -> str | None:
    """Return why the backend cannot run (this problem), or None."""
    return 'not built'


def run(problem: Problem) -> Tensor:
    """Run a problem in C++."""
    raise BackendUnavailableError('not built')
