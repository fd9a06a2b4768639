"""What a calibration split must satisfy."""

import hashlib
from typing import Any

import numpy as np

from dynnet.utils.errors import ConfigError

# Equal pixels happen by chance (published sets hold duplicates), equal files do not.
_TOLERATED_DUPLICATES = 0.1


def check_disjoint(calibration: Any, test: Any) -> None:
    """Refuse a calibration set that holds pictures of the test set.

    Pictures are compared by path, or by content where the data set holds them in
    memory. A data set without ``get_data_info`` is not checked.

    Args:
        calibration: Data set that thresholds are solved on.
        test: Data set that they are tested on.

    Raises:
        ConfigError: They overlap; the number and an example are named.
    """
    calibration_keys, test_keys = _identities(calibration), _identities(test)
    shared = calibration_keys & test_keys
    by_path = any(isinstance(key, str) for key in shared)
    allowed = 0 if by_path else _TOLERATED_DUPLICATES * len(calibration_keys)
    if len(shared) > allowed:
        example = f', such as {min(shared)}' if by_path else ''
        raise ConfigError(
            f'{len(shared)} of the {len(calibration)} calibration pictures are in the '
            f'test set{example}: thresholds must not be solved on test data; hold a '
            'split out of the training set'
        )


def describe(dataset: Any) -> str:
    """Name a data set: its class, annotation file and folder where it has them.

    Args:
        dataset: A data set or a wrapper around one.

    Returns:
        E.g. ``'HoldOut(CIFAR10 data_prefix=data/cifar10)'``.
    """
    if hasattr(dataset, 'dataset'):
        return f'{type(dataset).__name__}({describe(dataset.dataset)})'
    parts = [type(dataset).__name__]
    if getattr(dataset, 'ann_file', None):
        parts.append(f'ann_file={dataset.ann_file}')
    prefix = getattr(dataset, 'data_prefix', None)
    if isinstance(prefix, dict) and any(prefix.values()):
        parts.append('data_prefix=' + ','.join(filter(None, prefix.values())))
    if getattr(dataset, 'split', None):
        parts.append(f'split={dataset.split}')
    return ' '.join(parts)


def _identities(dataset: Any) -> set:
    """Paths of the pictures, or digests of their content; empty where unknown."""
    if not hasattr(dataset, 'get_data_info'):
        return set()
    keys = set()
    for i in range(len(dataset)):
        info = dataset.get_data_info(i)
        if info.get('img_path'):
            keys.add(str(info['img_path']))
        elif isinstance(info.get('img'), np.ndarray):
            content = np.ascontiguousarray(info['img'])
            keys.add(hashlib.blake2b(content, digest_size=16).digest())
    return keys
