"""Pictures of what dynamic networks do. matplotlib is imported when one is drawn."""

from .budget_curve import EarlyExitRun, plot_budget_curve
from .cam_overlay import PictureMaps, plot_cam_overlay
from .exit_gallery import GalleryPicture, choose_pictures, plot_exit_gallery
from .logged_scalar import plot_scalar, read_scalar
from .sample_weights import plot_sample_weights, weights_by_difficulty

__all__ = [
    'EarlyExitRun',
    'GalleryPicture',
    'PictureMaps',
    'choose_pictures',
    'plot_budget_curve',
    'plot_cam_overlay',
    'plot_exit_gallery',
    'plot_sample_weights',
    'plot_scalar',
    'read_scalar',
    'weights_by_difficulty',
]
