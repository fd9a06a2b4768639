"""Rotated boxes in DOTA's and HRSC2016's files, read strictly."""

from .base import StrictRotatedDataset
from .dota import DOTADatasetStrict, DOTAv15DatasetStrict
from .dota_format import parse_dota_file
from .hrsc import HRSCDatasetStrict
from .hrsc_format import parse_hrsc_file

__all__ = [
    'DOTADatasetStrict',
    'DOTAv15DatasetStrict',
    'HRSCDatasetStrict',
    'StrictRotatedDataset',
    'parse_dota_file',
    'parse_hrsc_file',
]
