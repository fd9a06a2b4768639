"""Operators: patches, spatial masks and the sparse execution of residual blocks."""

from .masks import coarse_size, dilate_mask, upsample_mask
from .patches import (
    action_grid,
    centre_corners,
    crop_patches,
    patch_corners,
    random_corners,
    sample_patches,
)

__all__ = [
    'action_grid',
    'centre_corners',
    'coarse_size',
    'crop_patches',
    'dilate_mask',
    'patch_corners',
    'random_corners',
    'sample_patches',
    'upsample_mask',
]
