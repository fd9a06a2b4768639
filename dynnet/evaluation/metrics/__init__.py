from .anytime_accuracy import AnytimeAccuracy
from .budgeted_batch_metric import BudgetedBatchMetric
from .calibration_table import CalibrationTable
from .cost_metric import CostMetric
from .gate_cost_metric import GateCostMetric
from .patch_distance import PatchDistance
from .video_metric import VideoMetric

__all__ = [
    'AnytimeAccuracy',
    'BudgetedBatchMetric',
    'CalibrationTable',
    'CostMetric',
    'PatchDistance',
    'GateCostMetric',
    'VideoMetric',
]
