"""Freezing a multi-exit classifier to one exit: a plain, smaller classifier."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from dynnet.registry import MODELS
from dynnet.utils.conversion import check_state
from dynnet.utils.errors import ConfigError


def freeze_exit_config(model_cfg: Mapping[str, Any], k: int) -> dict[str, Any]:
    """Return the config of exit ``k`` alone, a plain mmpretrain classifier.

    Criterion and ``test_cfg`` have no place in it; weights come from
    :func:`freeze_exit_state`, so the classifier's ``init_cfg`` goes as well. The exit's
    loss is not weighted.

    Args:
        model_cfg: Config of a ``MultiExitClassifier`` (or an ``L2WClassifier``, which
            is one). Its backbone is built once, to learn its exits.
        k: The exit, counted from 1.

    Returns:
        Config of an ``ImageClassifier`` with the same backbone, built up to exit k, and
        a ``SingleExitHead``.

    Raises:
        ConfigError: The config is of another kind of model, or there is no such exit.
    """
    kind = model_cfg.get('type')
    name = kind if isinstance(kind, str) else getattr(kind, '__name__', kind)
    if str(name).rpartition('.')[2] not in ('MultiExitClassifier', 'L2WClassifier'):
        raise ConfigError(f'only a MultiExitClassifier has exits to freeze, not {name}')
    backbone, head = dict(model_cfg['backbone']), dict(model_cfg['head'])
    built = MODELS.build(backbone)
    if built.exit_index is not None:
        raise ConfigError(
            f'backbone.exit_index={built.exit_index}: the net is cut to one exit'
        )
    if not 1 <= k <= built.num_exits:
        raise ConfigError(f'exit {k}: the net has exits 1 to {built.num_exits}')
    branch = head.get('exit', dict(type='dynnet.ConvExit'))
    if isinstance(branch, (list, tuple)):
        branch = branch[k - 1]
    settings = {key: head[key] for key in ('loss', 'topk') if key in head}
    kept = ('data_preprocessor', 'train_cfg')
    return dict(
        type='mmpretrain.ImageClassifier',
        backbone=dict(_scoped(backbone), exit_index=k - 1),
        head=dict(
            type='dynnet.SingleExitHead',
            num_classes=head['num_classes'],
            in_channels=built.exit_channels[k - 1],
            branch=dict(branch),
            **settings,
        ),
        **{key: model_cfg[key] for key in kept if key in model_cfg},
    )


def freeze_exit_state(
    state_dict: Mapping[str, Tensor],
    k: int,
    expected: Mapping[str, Tensor],
    source: str = 'the state dict',
) -> dict[str, Tensor]:
    """Pick the weights of exit ``k`` alone out of a multi-exit classifier's.

    Args:
        state_dict: Weights of the ``MultiExitClassifier``, with or without the
            ``module.`` of a data-parallel wrapper.
        k: The exit, counted from 1.
        expected: State dict of the smaller model (:func:`freeze_exit_config`): which
            part of a backbone an exit needs, the built net knows best.
        source: Where the weights come from, for the message.

    Returns:
        The weights of the smaller model, all of them and no others.

    Raises:
        CheckpointError: A weight is missing or has another shape.
    """
    frozen = {}
    for name, value in state_dict.items():
        name = name.removeprefix('module.')
        prefix = f'head.exits.{k - 1}.'
        if name.startswith(prefix):
            name = 'head.branch.' + name.removeprefix(prefix)
        if name in expected:
            frozen[name] = value
    check_state(frozen, expected, source)
    return frozen


def _scoped(cfg: dict[str, Any]) -> dict[str, Any]:
    """Name the scope of a type of ours: mmpretrain builds the frozen net."""
    kind = cfg['type']
    if isinstance(kind, str) and kind in MODELS.module_dict:
        return dict(cfg, type=f'dynnet.{kind}')
    return cfg
