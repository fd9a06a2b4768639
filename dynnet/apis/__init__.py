"""Using trained models from Python."""

from .early_exit_inferencer import EarlyExitInferencer
from .inference import init_model
from .pictures import PicturePipeline
from .video_inferencer import VideoInferencer

__all__ = ['EarlyExitInferencer', 'PicturePipeline', 'VideoInferencer', 'init_model']
