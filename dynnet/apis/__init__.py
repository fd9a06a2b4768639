"""Using trained models from Python."""

from .early_exit_inferencer import EarlyExitInferencer
from .inference import init_model
from .pictures import PicturePipeline

__all__ = ['EarlyExitInferencer', 'PicturePipeline', 'init_model']
