"""The small rule by which ``auto`` picks a backend."""

from . import cpp, mkldnn_rows
from .problem import Problem

# Share of active positions from which whole maps (eager convolutions) are about as fast
# as gathered rows, by addmm and by oneDNN's prepacked linears. Rough: it depends on the
# machine's BLAS, hence the exchangeable rule.
DENSE_FROM = {'torch': 0.6, 'mkldnn': 0.75}


def density_rule(problem: Problem) -> str:
    """Pick by device and density.

    On a CPU the C++ kernel, when it is there, at every density: its time follows the
    active positions, and at density 1 it is not slower than dense. Else rows up to
    a density, whole maps from there on. Grouped convolutions are dense.
    """
    if problem.block.groups != 1:
        return 'dense'
    if cpp.unavailable(problem) is None:
        return 'cpp'
    name = 'mkldnn' if mkldnn_rows.unavailable(problem) is None else 'torch'
    return name if problem.density < DENSE_FROM[name] else 'dense'
