"""Losses."""

from .distillation import kd_loss

__all__ = ['kd_loss']
