"""When a sample leaves: criteria, thresholds, and solving them for a budget."""

from .assign import assign_by_shares, assign_exits
from .budget_solver import (
    BudgetSolver,
    evaluate_thresholds,
    thresholds_for_budget,
    thresholds_for_shares,
)
from .builder import build_criterion, build_solver
from .criteria import Entropy, ExitCriterion, Margin, MaxLogit, MaxSoftmax, Patience
from .mixin import ThresholdsMixin
from .shares import exit_shares, quotas
from .thresholds import ExitThresholds, OperatingPoint

__all__ = [
    'BudgetSolver',
    'Entropy',
    'ExitCriterion',
    'ExitThresholds',
    'Margin',
    'MaxLogit',
    'MaxSoftmax',
    'OperatingPoint',
    'Patience',
    'ThresholdsMixin',
    'assign_by_shares',
    'assign_exits',
    'build_criterion',
    'build_solver',
    'evaluate_thresholds',
    'exit_shares',
    'quotas',
    'thresholds_for_budget',
    'thresholds_for_shares',
]
