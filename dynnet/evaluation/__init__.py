"""Metrics of dynamic networks: accuracy per exit, accuracy per budget, cost."""

from .metrics import AnytimeAccuracy, BudgetedBatchMetric, CalibrationTable, CostMetric

__all__ = ['AnytimeAccuracy', 'BudgetedBatchMetric', 'CalibrationTable', 'CostMetric']
