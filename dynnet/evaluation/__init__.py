"""Metrics of dynamic networks: accuracy per exit, accuracy per budget, cost."""

from .metrics import (
    AnytimeAccuracy,
    BudgetedBatchMetric,
    CalibrationTable,
    CostMetric,
    PatchDistance,
    VideoMetric,
)

__all__ = [
    'AnytimeAccuracy',
    'BudgetedBatchMetric',
    'CalibrationTable',
    'CostMetric',
    'PatchDistance',
    'VideoMetric',
]
