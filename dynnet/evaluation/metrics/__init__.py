from .anytime_accuracy import AnytimeAccuracy
from .budgeted_batch_metric import BudgetedBatchMetric
from .calibration_table import CalibrationTable
from .cost_metric import CostMetric

__all__ = ['AnytimeAccuracy', 'BudgetedBatchMetric', 'CalibrationTable', 'CostMetric']
