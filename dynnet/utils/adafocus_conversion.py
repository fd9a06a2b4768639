"""Published AdaFocus checkpoints, and an ImageNet MobileNetV2, in mm's layout."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from torch import Tensor

from dynnet.registry import MODELS

from .checkpoint import save_checkpoint
from .conversion import check_state
from .errors import CheckpointError, ConfigError

State = Mapping[str, Tensor]

# mmaction2's layers of a MobileNetV2 and the published blocks that they hold.
_MOBILENET_LAYERS = ((1, 1), (2, 3), (4, 6), (7, 10), (11, 13), (14, 16), (17, 17))
# Entries of a published file that hold weights.
ENTRIES = ('glancer', 'focuser', 'fc', 'policy')


def resnet_keys(state: State) -> dict[str, Tensor]:
    """Rename torchvision's ResNet to mmaction2's, with or without temporal shift.

    ``fc`` is kept as it is.
    """
    renamed = {}
    for name, value in state.items():
        name = re.sub(r'\bconv(\d)\.(net\.)?(weight)$', r'conv\1.conv.\2\3', name)
        name = re.sub(r'\bbn(\d)\.', r'conv\1.bn.', name)
        name = name.replace('downsample.0.', 'downsample.conv.')
        name = name.replace('downsample.1.', 'downsample.bn.')
        renamed[name] = value
    return renamed


def mobilenet_keys(state: State) -> dict[str, Tensor]:
    """Rename torchvision's MobileNetV2, or TSM's flat one, to mmaction2's.

    A temporal shift (``.net.``) wraps the first convolution there and the whole of the
    first convolution, BN and activation in mmaction2. ``classifier`` is kept.

    Args:
        state: Names ``features.0`` to ``features.18`` and ``classifier``.
    """
    shifted = {
        int(match[1])
        for name in state
        if (match := re.match(r'features\.(\d+)\.conv\.0\.net\.', name))
    }
    nested = any(name.startswith('features.2.conv.0.0.') for name in state)
    renamed = {}
    for name, value in state.items():
        match = re.match(r'features\.(\d+)\.(.+)\.(\w+)$', name)
        if match is None:
            renamed[name] = value
            continue
        block, path, kind = int(match[1]), match[2], match[3]
        if block in (0, 18):
            prefix, part = ('conv1', 'conv2')[block // 18], ('conv', 'bn')[int(path)]
        else:
            layer = next(
                k for k, (a, b) in enumerate(_MOBILENET_LAYERS) if a <= block <= b
            )
            inner = block - _MOBILENET_LAYERS[layer][0]
            unit, part = _inverted_residual(path, block == 1, nested)
            wrap = '.net' if block in shifted and unit == 0 else ''
            prefix = f'layer{layer + 1}.{inner}.conv.{unit}{wrap}'
        renamed[f'{prefix}.{part}.{kind}'] = value
    return renamed


def _inverted_residual(path: str, first: bool, nested: bool) -> tuple[int, str]:
    """Which convolution of a block, and 'conv' or 'bn' of it.

    torchvision nests all but the last: 0.0 0.1, 1.0 1.1, 2 3; TSM's flat form counts
    the activations: 0 1 (2) 3 4 (5) 6 7. The first block has one convolution less.
    """
    numbers = [int(n) for n in path.removeprefix('conv.').split('.') if n != 'net']
    if len(numbers) == 2:
        return numbers[0], ('conv', 'bn')[numbers[1]]
    if nested:
        last = 1 if first else 2
        return last, ('conv', 'bn')[numbers[0] - last]
    return numbers[0] // 3, ('conv', 'bn')[numbers[0] % 3]


def policy_keys(state: State) -> dict[str, Tensor]:
    """Rename a published policy's entries."""
    renamed = {}
    for name, value in state.items():
        name = re.sub(r'^state_encoder\.', 'encoder.', name)
        renamed[re.sub(r'^(actor|critic)\.0\.', r'\1.', name)] = value
    return renamed


def glancer_keys(state: State) -> dict[str, Tensor]:
    """Rename the published ``glancer`` entry: f_G and its classifier."""
    backbone, head = _split(_strip(state, 'net.'), 'classifier.')
    head = {name.removeprefix('1.'): value for name, value in head.items()}
    return _prefixed(mobilenet_keys(backbone), 'global_backbone.') | _prefixed(
        head, 'global_head.fc.'
    )


def focuser_keys(state: State) -> dict[str, Tensor]:
    """Rename the published ``focuser`` entry: f_L, and its classifier if it has one.

    Policies that are stored inside it are left out: the ``policy`` entry has them.
    """
    state = _strip(
        {name: v for name, v in state.items() if not name.startswith('policy.')}, 'net.'
    )
    if any(name.startswith('base_model.') for name in state):
        state = _from_sequential(_strip(state, 'base_model.'))
    backbone, head = _split(state, 'fc.')
    return _prefixed(resnet_keys(backbone), 'backbone.') | _prefixed(
        head, 'local_head.fc.'
    )


def classifier_keys(state: State) -> dict[str, Tensor]:
    """Rename the published ``fc`` entry: a GRU with ``fc``, or one linear layer."""
    return {
        'cls_head.' + (f'fc.{name}' if name in ('weight', 'bias') else name): value
        for name, value in state.items()
    }


def adafocus_state(content: Mapping[str, Any]) -> dict[str, Tensor]:
    """Bring a published file, or several that belong together, into our layout.

    Args:
        content: Entries ``glancer``, ``focuser``, ``fc``, ``policy`` (those that are
            there; the stage-0 files have one each), or ``state_dict`` of the TSM code
            base, as the start of the Something-Something form.

    Returns:
        Our state dict of those parts.

    Raises:
        CheckpointError: None of the entries is there.
    """
    if isinstance(content.get('state_dict'), Mapping):
        return tsm_keys(content['state_dict'])
    rename = dict(
        glancer=glancer_keys,
        focuser=focuser_keys,
        fc=classifier_keys,
        policy=lambda state: _prefixed(policy_keys(state), 'policy.'),
    )
    converted: dict[str, Tensor] = {}
    for entry in ENTRIES:
        if isinstance(content.get(entry), Mapping):
            converted |= rename[entry](_strip(content[entry], 'module.'))
    if not converted:
        raise CheckpointError(
            f'no AdaFocus checkpoint: it has none of {", ".join(ENTRIES)}, state_dict'
        )
    return converted


def tsm_keys(state: State) -> dict[str, Tensor]:
    """Rename a pre-trained network of the TSM code base: f_G or f_L by its layers.

    f_L's classifier is left out, as the published loading does.
    """
    state = _strip(state, 'module.')
    if any('.features.' in name for name in state):
        renamed = {
            name.replace('base_model.', 'net.').replace(
                'new_fc.', 'net.classifier.'
            ): value
            for name, value in state.items()
        }
        return glancer_keys(renamed)
    backbone = {
        name.removeprefix('base_model.'): value
        for name, value in state.items()
        if not name.startswith('new_fc.')
    }
    return _prefixed(resnet_keys(backbone), 'backbone.')


def split_model_state(state: State) -> dict[str, dict[str, Tensor]]:
    """Sort a published ``model_state_dict`` into the entries that files have."""
    entries: dict[str, dict[str, Tensor]] = {}
    names = dict(glancer='glancer', focuser='focuser', classifier='fc', policy='policy')
    for name, value in state.items():
        prefix, _, rest = name.removeprefix('module.').partition('.')
        if prefix == 'focuser' and rest.startswith('policy.'):
            if rest.startswith('policy.policy.'):
                rest = rest.removeprefix('policy.policy.')
                entries.setdefault('policy', {})[rest] = value
            continue  # policy_old is a copy
        entries.setdefault(names.get(prefix, prefix), {})[rest] = value
    return entries


def imagenet_mobilenet_state(
    source: State, expected: State, name: str = 'the weights'
) -> dict[str, Tensor]:
    """Bring a torch MobileNetV2 of other names into mmaction2's, in order.

    Args:
        source: Its state dict, parameters and buffers in the order of the layers, with
            or without ``num_batches_tracked`` and a classifier.
        expected: State dict of mmaction2's backbone; only names and shapes count.
        name: Begins the error message.

    Returns:
        The backbone's state dict.

    Raises:
        CheckpointError: A tensor is missing or has another shape or kind.
    """
    values = {
        key: value
        for key, value in source.items()
        if not key.endswith('num_batches_tracked') and 'classifier' not in key
    }
    wanted = [key for key in expected if not key.endswith('num_batches_tracked')]
    if len(values) != len(wanted):
        raise CheckpointError(
            f'{name}: {len(values)} tensors, a MobileNetV2 has {len(wanted)}'
        )
    # Not those of ``expected``, which may be without values (on the meta device).
    state = {
        key: torch.zeros((), dtype=torch.int64)
        for key in expected
        if key.endswith('num_batches_tracked')
    }
    for key, (theirs, value) in zip(wanted, values.items()):
        kind = key.rpartition('.')[2]
        if value.shape != expected[key].shape or theirs.rpartition('.')[2] != kind:
            raise CheckpointError(
                f'{name}: {theirs} {tuple(value.shape)} stands where {key} '
                f'{tuple(expected[key].shape)} should be'
            )
        state[key] = value
    return state


def read_adafocus(path: str | Path) -> dict[str, Any]:
    """Open a published file with torch's safe loader.

    Beside tensors and plain values, NumPy numbers are let in: some files store their
    accuracy as one.

    Raises:
        CheckpointError: No such file, or one that the safe loader refuses.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f'{path} does not exist')
    scalar = np.core.multiarray.scalar if np.__version__ < '2' else None
    if scalar is None:
        scalar = np._core.multiarray.scalar
    harmless = [scalar, np.dtype, np.dtypes.Float64DType, np.dtypes.Float32DType]
    harmless.append((scalar, 'numpy.core.multiarray.scalar'))
    try:
        with torch.serialization.safe_globals(harmless):
            content = torch.load(path, map_location='cpu', weights_only=True)
    except Exception as error:  # torch raises many kinds
        reason = (str(error).strip().splitlines() or [repr(error)])[0]
        raise CheckpointError(
            f'{path}: the safe loader does not open it: it is no checkpoint, or it '
            f'asks to run code ({type(error).__name__}: {reason})'
        ) from None
    if not isinstance(content, dict):
        raise CheckpointError(f'{path}: holds a {type(content).__name__}, no weights')
    return content


def _strip(state: State, prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in state.items()}


def _prefixed(state: State, prefix: str) -> dict[str, Tensor]:
    return {prefix + name: value for name, value in state.items()}


def _split(state: State, prefix: str) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """What does not begin with ``prefix``, and what does, without it."""
    rest = {k: v for k, v in state.items() if not k.startswith(prefix)}
    own = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
    return rest, own


def _from_sequential(state: State) -> dict[str, Tensor]:
    """Name the children of the published f_L: conv1, bn1, (ReLU, pool,) layer1, ..."""
    names = {'0': 'conv1', '1': 'bn1', '4': 'layer1', '5': 'layer2'}
    names |= {'6': 'layer3', '7': 'layer4'}
    renamed = {}
    for name, value in state.items():
        child, _, rest = name.partition('.')
        renamed[f'{names[child]}.{rest}'] = value
    return renamed


def check_parts(state: State, expected: State, source: str) -> list[str]:
    """Refuse a state dict whose parts are not exactly the model's.

    Whole parts may be missing: a stage-0 file has one encoder, a stage-1 file no
    policy.

    Args:
        state: Converted.
        expected: The model's.
        source: Begins the error message.

    Returns:
        Names of the parts that are missing.

    Raises:
        CheckpointError: Missing or unused tensors, or wrong shapes.
    """
    present = {name.partition('.')[0] for name in state}
    wanted = {k: v for k, v in expected.items() if k.partition('.')[0] in present}
    check_state(state, wanted, source)
    return sorted({name.partition('.')[0] for name in expected} - present)


def convert_adafocus(
    sources: Sequence[str | Path], target: str | Path, config: str | Path
) -> tuple[dict[str, Tensor], list[str]]:
    """Convert published files for the model of a config.

    Args:
        sources: One file, or the two of stage 0.
        target: Where the converted checkpoint is written, whole or not at all.
        config: A config of the same network.

    Returns:
        The state dict, and the names of the parts that the files do not have.

    Raises:
        CheckpointError: A file cannot be opened or does not fit the config.
        ConfigError: There is no such config, or it has no model.
    """
    if not Path(config).is_file():
        raise ConfigError(f'config file {config} does not exist')
    cfg = Config.fromfile(config)
    if cfg.get('model') is None:
        raise ConfigError(f'{config} has no model')
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope', 'mmaction')):
        with torch.device('meta'):
            expected = MODELS.build(cfg.model).state_dict()
    state: dict[str, Tensor] = {}
    for source in sources:
        content = read_adafocus(source)
        try:
            state |= adafocus_state(content)
        except CheckpointError as error:
            raise CheckpointError(f'{source}: {error}') from None
    name = ' and '.join(map(str, sources))
    missing = check_parts(state, expected, name)
    meta = dict(converted_from=[Path(source).name for source in sources])
    save_checkpoint(target, dict(meta=meta, state_dict=state))
    return state, missing
