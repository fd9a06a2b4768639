"""CAM-loss for any classifier that ends with pooling and one linear layer."""

import copy
from collections.abc import Mapping
from typing import Any

from dynnet.utils.errors import ConfigError


def add_cam_loss(
    model_cfg: Mapping[str, Any], loss_cam: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return the config of a classifier with CAM-loss.

    Parameters, logits and predictions stay what they are: weights load both ways.

    Args:
        model_cfg: Config of mmpretrain's ``ImageClassifier`` with a
            ``GlobalAveragePooling`` neck and a ``LinearClsHead``: ResNet, DenseNet,
            MobileNet, RegNet, ...
        loss_cam: Settings of the ``CAMLoss``; None for its defaults.

    Returns:
        The same config without neck and with a ``CAMLinearClsHead``.

    Raises:
        ConfigError: The classifier is of another form: there is no class activation
            map for it. The message says what is in the way.

    Example:
        >>> model = dict(
        ...     type='ImageClassifier',
        ...     backbone=dict(type='ResNet', depth=18),
        ...     neck=dict(type='GlobalAveragePooling'),
        ...     head=dict(type='LinearClsHead', num_classes=10, in_channels=512),
        ... )
        >>> add_cam_loss(model, dict(loss_weight=1.0))['head']['type']
        'dynnet.CAMLinearClsHead'
    """
    if _name(model_cfg) != 'ImageClassifier':
        raise ConfigError(f'CAM-loss is for an ImageClassifier, not {_name(model_cfg)}')
    model = copy.deepcopy(dict(model_cfg))
    head = dict(model.get('head') or {})
    if _name(head) != 'LinearClsHead':
        raise ConfigError(
            'CAM-loss needs one linear layer behind the pooling (LinearClsHead): '
            f'{_name(head)} has no row of weights for each class and channel'
        )
    neck = model.pop('neck', None)
    if neck is None or _name(neck) != 'GlobalAveragePooling' or neck.get('dim', 2) != 2:
        backbone = _name(model.get('backbone') or {})
        raise ConfigError(
            'CAM-loss needs a GlobalAveragePooling neck over the two dimensions of a '
            f'map; {backbone} has {"no neck" if neck is None else _name(neck)} (nets '
            'with fully connected layers, such as VGG, have no class activation map)'
        )
    head.update(
        type='dynnet.CAMLinearClsHead',
        loss_cam=dict(type='dynnet.CAMLoss', **(loss_cam or {})),
    )
    model['head'] = head
    return model


def _name(cfg: Mapping[str, Any]) -> str:
    """The type's name without its scope."""
    kind = cfg.get('type', 'nothing')
    return kind.rpartition('.')[2] if isinstance(kind, str) else kind.__name__
