"""Operators: patches, spatial masks, sparse execution, mixed kernels."""

from .kernel_mixing import allocate_kernels, apply_mixing, mix_kernels
from .kernel_rotation import (
    rotate_and_mix,
    rotate_kernels,
    rotation_basis,
    rotation_matrix,
)
from .masks import coarse_size, dilate_mask, upsample_mask
from .patches import (
    action_grid,
    centre_corners,
    crop_patches,
    patch_corners,
    random_corners,
    sample_patches,
)
from .per_sample_conv import per_sample_conv2d

__all__ = [
    'action_grid',
    'allocate_kernels',
    'apply_mixing',
    'centre_corners',
    'coarse_size',
    'crop_patches',
    'dilate_mask',
    'mix_kernels',
    'patch_corners',
    'per_sample_conv2d',
    'random_corners',
    'rotate_and_mix',
    'rotate_kernels',
    'rotation_basis',
    'rotation_matrix',
    'sample_patches',
    'upsample_mask',
]
