"""Detectors; they need mmdet, which is imported when one is built."""

from .gated_detector import GatedDetector

__all__ = ['GatedDetector']
