"""Networks and their parts; what needs a toolbox is imported where it is installed."""

from dynnet.registry import MODELS
from dynnet.utils.optional import is_available, register_missing

from . import (
    backbones,
    data_parallel,
    detectors,
    exits,
    gates,
    heads,
    layers,
    losses,
    policies,
    weighting,
)

if is_available('mmpretrain'):
    from . import classifiers  # noqa: F401
    from .backbones import arc_resnet, cifar_resnet, las_resnet, regnet_y  # noqa: F401
    from .heads import cam_linear_cls_head, single_exit_head  # noqa: F401
else:
    _missing = ['L2WClassifier', 'MultiExitClassifier', 'SingleExitHead']
    _missing += ['CAMDistillClassifier', 'CAMLinearClsHead', 'CIFARResNet']
    _missing += [
        'GatedClassifier',
        'LASRegNet',
        'LASResNet',
        'LASResNetCIFAR',
        'RegNetY',
    ]
    _missing += ['ARCResNet']
    register_missing(MODELS, _missing, 'mmpretrain')

# They import mmaction2, which takes seconds.
MODELS.register_lazily(
    ['AdaFocus', 'AdaFocusTSM'], 'dynnet.models.recognizers', 'mmaction'
)

__all__ = [
    'backbones',
    'data_parallel',
    'detectors',
    'exits',
    'gates',
    'heads',
    'layers',
    'losses',
    'policies',
    'weighting',
]
