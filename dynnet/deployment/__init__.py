"""Early-exit networks outside of PyTorch."""

from .onnx_early_exit import OnnxEarlyExit
from .onnx_export import export_exits

__all__ = ['OnnxEarlyExit', 'export_exits']
