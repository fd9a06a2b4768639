"""Losses."""

from .activation_maps import (
    class_activation_map,
    class_agnostic_activation_map,
    map_distance,
    min_max_normalize,
    top_share,
)
from .cam_loss import CAMLoss
from .cam_matching_loss import CAMMatchingLoss
from .distillation import kd_loss
from .macs_budget_loss import MACsBudgetLoss, bounds_loss, ratio_bounds, target_loss

__all__ = [
    'CAMLoss',
    'CAMMatchingLoss',
    'MACsBudgetLoss',
    'bounds_loss',
    'class_activation_map',
    'class_agnostic_activation_map',
    'kd_loss',
    'map_distance',
    'min_max_normalize',
    'ratio_bounds',
    'target_loss',
    'top_share',
]
