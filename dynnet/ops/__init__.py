"""Operators: spatial masks and the sparse execution of residual blocks."""

from .masks import coarse_size, dilate_mask, upsample_mask

__all__ = ['coarse_size', 'dilate_mask', 'upsample_mask']
