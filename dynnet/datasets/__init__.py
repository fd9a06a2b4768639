"""Datasets and transforms that the toolboxes lack."""

from dynnet.registry import DATASETS, TRANSFORMS
from dynnet.utils.optional import is_available, register_missing

from .class_subset import ClassSubset
from .cue_truth import LoadCueTruth
from .rotated import DOTADatasetStrict, DOTAv15DatasetStrict, HRSCDatasetStrict
from .subset import HoldoutSubset, Subset
from .video_transforms import (
    DecodeVideo,
    OpenVideo,
    SampleGlanceFocus,
    SampleSegments,
)

__all__ = [
    'ClassSubset',
    'DOTADatasetStrict',
    'DOTAv15DatasetStrict',
    'DecodeVideo',
    'HRSCDatasetStrict',
    'HoldoutSubset',
    'LoadCueTruth',
    'OpenVideo',
    'SampleGlanceFocus',
    'SampleSegments',
    'Subset',
]

# They import mmaction2, which takes seconds.
DATASETS.register_lazily(
    ['VideoListDataset', 'FrameListDataset'],
    'dynnet.datasets.video_datasets',
    'mmaction',
)

if is_available('mmpretrain'):
    from .image_folder import ImageFolder
    from .npz_dataset import NPZDataset
    from .transforms import LoadImageStrict

    __all__ += ['ImageFolder', 'LoadImageStrict', 'NPZDataset']
else:
    register_missing(DATASETS, ['ImageFolder', 'NPZDataset'], 'mmpretrain')
    register_missing(TRANSFORMS, ['LoadImageStrict'], 'mmpretrain')
