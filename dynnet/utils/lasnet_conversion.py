"""LASNet's, LAUDNet's and torchvision's ResNets and RegNets in dynnet's layout."""

import re
from pathlib import Path

from torch import Tensor

from .checkpoint import save_checkpoint
from .conversion import Conversion, State, check_state, read_published
from .errors import CheckpointError

# Longer patterns first: a RegNet block's keys have all that a ResNet's have not.
_BLOCK = r'^trunk_output\.block(\d+)\.block\1-(\d+)\.'
_RENAMES = (
    (r'^stem\.0\.', 'conv1.'),
    (r'^stem\.1\.', 'bn1.'),
    (_BLOCK + r'proj\.', r'layer\1.\2.downsample.'),
    (_BLOCK + r'f\.a\.0\.', r'layer\1.\2.conv1.'),
    (_BLOCK + r'f\.a\.1\.', r'layer\1.\2.bn1.'),
    (_BLOCK + r'f\.b\.0\.', r'layer\1.\2.conv2.'),
    (_BLOCK + r'f\.b\.1\.', r'layer\1.\2.bn2.'),
    (_BLOCK + r'f\.se\.fc([12])\.', r'layer\1.\2.se.conv\3.conv.'),
    (_BLOCK + r'f\.c\.0\.', r'layer\1.\2.conv3.'),
    (_BLOCK + r'f\.c\.1\.', r'layer\1.\2.bn3.'),
    (_BLOCK + r'(?:f\.)?(masker.*)$', r'layer\1.\2.\3'),
    (r'(^|\.)masker\.conv2\.', r'\1gate.conv.'),
    (r'(^|\.)masker_spatial\.conv\.', r'\1gate.conv.'),
)


def lasnet_keys(state_dict: State) -> dict[str, Tensor]:
    """Rename the keys of a published network.

    Args:
        state_dict: Of LASNet (ResNet, RegNet, detectors), LAUDNet (spatial or layer
            mode), or torchvision (without gates), with or without ``module.``.

    Returns:
        The classifier's keys (``backbone.``, ``head.fc.``); a detector's other parts
        keep their names.

    Raises:
        CheckpointError: LAUDNet's channel gates, which dynnet does not have.
    """
    renamed = {}
    names = [name.removeprefix('module.') for name in state_dict]
    is_detector = any(name.startswith('backbone.') for name in names)
    for name, value in zip(names, state_dict.values()):
        if 'masker_channel' in name:
            raise CheckpointError(
                f'{name}: channel gates are not supported, only spatial and layer gates'
            )
        in_backbone = name.startswith('backbone.')
        name = name.removeprefix('backbone.')
        if not is_detector and name.startswith('fc.'):
            renamed['head.' + name] = value
            continue
        if in_backbone or not is_detector:
            for pattern, replacement in _RENAMES:
                name = re.sub(pattern, replacement, name)
            name = 'backbone.' + name
        renamed[name] = value
    return renamed


def convert_dense(
    source: str | Path, target: str | Path, expected: State
) -> Conversion:
    """Convert a network without gates as the start (and teacher) of a gated one.

    Args:
        source: torchvision's file, or another in its layout.
        target: The checkpoint to write: a config's ``load_from``.
        expected: State dict of the gated model; its gates are not in the file.

    Returns:
        What was converted.

    Raises:
        CheckpointError: The file cannot be opened or fits in more than the gates not.
    """
    content = read_published(source)
    state_dict = lasnet_keys(content['state_dict'])
    dense = {name: v for name, v in expected.items() if '.gate.' not in name}
    check_state(state_dict, dense, str(source))
    meta = dict(converted_from=Path(source).name, gates=False)
    save_checkpoint(target, dict(meta=meta, state_dict=state_dict))
    return Conversion(state_dict, sorted(set(content) - {'state_dict'}))
