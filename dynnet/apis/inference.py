"""Models from a config and a checkpoint, for inference."""

import copy
import os
from collections.abc import Iterator
from contextlib import contextmanager

from mmengine.config import Config
from mmengine.device import get_device
from mmengine.fileio import list_from_file
from mmengine.registry import MODELS, DefaultScope
from torch import nn

from dynnet.registry import DATASETS
from dynnet.utils.checkpoint import load_weights
from dynnet.utils.errors import ConfigError
from dynnet.utils.optional import EXTRAS, require

ConfigLike = str | os.PathLike | Config


def read_config(config: ConfigLike) -> Config:
    """Read a config file, or copy a config.

    Args:
        config: Path of the file, or a config, which is left as it is.

    Returns:
        The config.

    Raises:
        ConfigError: There is no such file.
        ImportError: The toolbox of its ``default_scope`` is not installed.
    """
    if isinstance(config, Config):
        cfg, name = copy.deepcopy(config), config.filename or 'the config'
    else:
        name = os.fspath(config)
        if not os.path.isfile(name):
            raise ConfigError(f'config file {name} does not exist')
        cfg = Config.fromfile(name)
    scope = cfg.get('default_scope')
    if scope in EXTRAS:
        require(scope, needed_by=name)
    return cfg


@contextmanager
def scope_of(cfg: Config) -> Iterator[None]:
    """Build what a config describes as the runner would: in its default scope."""
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope', 'mmengine')):
        yield


def init_model(
    config: ConfigLike,
    checkpoint: str | os.PathLike | None = None,
    device: str | None = None,
) -> nn.Module:
    """Build a model of any toolbox and load its weights, ready for inference.

    Args:
        config: Config file or config.
        checkpoint: File with its weights, opened with the safe loader; None leaves the
            weights as they are initialised.
        device: Where it goes; None for the GPU, if there is one.

    Returns:
        The model in eval mode, with ``cfg``, ``checkpoint_meta`` (the checkpoint's
        ``meta``) and ``dataset_meta`` (``classes``, where they are known).

    Raises:
        ConfigError: There is no such config, or it has no model.
        CheckpointError: The checkpoint cannot be opened or does not fit the model.
    """
    cfg = read_config(config)
    if cfg.get('model') is None:
        raise ConfigError(f'{cfg.filename or "the config"} has no model')
    model_cfg = copy.deepcopy(cfg.model)
    if cfg.get('data_preprocessor') is not None:
        model_cfg.setdefault('data_preprocessor', cfg.data_preprocessor)
    with scope_of(cfg):
        model = MODELS.build(model_cfg)
    meta = {} if checkpoint is None else load_weights(model, checkpoint)
    model.cfg = cfg
    model.checkpoint_meta = meta
    model.dataset_meta = _dataset_meta(cfg, meta)
    return model.to(device or get_device()).eval()


def _dataset_meta(cfg: Config, meta: dict) -> dict:
    """What is known of the data: by the checkpoint, else the config, else the class."""
    stored = meta.get('dataset_meta') or {}
    if 'classes' in stored:
        return dict(stored)
    dataset = innermost_dataset(cfg)
    classes = (dataset.get('metainfo') or {}).get('classes')
    if classes is None and 'type' in dataset:
        with scope_of(cfg):
            kind = dataset['type']
            kind = DATASETS.get(kind) if isinstance(kind, str) else kind
        classes = (getattr(kind, 'METAINFO', None) or {}).get('classes')
    if isinstance(classes, str):
        classes = list_from_file(classes)
    return dict(stored) if classes is None else dict(stored, classes=tuple(classes))


def innermost_dataset(cfg: Config) -> dict:
    """Config of the test data: inside wrappers such as ``Subset``; may be empty."""
    dataset = (cfg.get('test_dataloader') or {}).get('dataset') or {}
    while 'pipeline' not in dataset and isinstance(dataset.get('dataset'), dict):
        dataset = dataset['dataset']
    return dataset
