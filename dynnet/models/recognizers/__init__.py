"""Video recognizers; they need mmaction2, which is imported here."""

from dynnet.utils.optional import require

require('mmaction', 'dynnet.models.recognizers')

from .adafocus import AdaFocus  # noqa: E402
from .adafocus_tsm import AdaFocusTSM  # noqa: E402
from .patch_recognizer import PatchRecognizer  # noqa: E402
from .stages import STAGES, Stage  # noqa: E402

__all__ = ['STAGES', 'AdaFocus', 'AdaFocusTSM', 'PatchRecognizer', 'Stage']
