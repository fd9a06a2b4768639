"""Sample weights that are learned: L2W-DEN."""

from .lookahead import (
    confidence,
    directional_losses,
    meta_loss,
    sgd_lookahead,
)
from .wpn import WeightPredictionNetwork, centre_weights

__all__ = [
    'WeightPredictionNetwork',
    'centre_weights',
    'confidence',
    'directional_losses',
    'meta_loss',
    'sgd_lookahead',
]
