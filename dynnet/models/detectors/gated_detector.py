"""Any of mmdet's detectors on a backbone with gates."""

import functools

from mmengine.model import BaseModel
from torch import nn

from dynnet.registry import MODELS
from dynnet.utils.errors import ConfigError
from dynnet.utils.optional import require

from ..gates import GatedModelMixin
from ..gates.gated_model import GATE_SETTINGS


@MODELS.register_module()
def GatedDetector(  # noqa: N802  (in a config it stands where a class stands)
    detector: str,
    budget: dict | None = None,
    gates: dict | None = None,
    **kwargs,
) -> nn.Module:
    """Build a detector whose loss has the gates' budget in it.

    In a config that inherits one of mmdet's, only the type changes::

        model = dict(
            type='dynnet.GatedDetector',
            detector='mmdet.RetinaNet',
            budget=dict(type='dynnet.MACsBudgetLoss', target=0.5, loss_weight=1.0,
                        with_bounds=False),
            backbone=dict(_delete_=True, type='dynnet.LASResNet', ...))

    The budget divides by the backbone's own dense MACs at each batch's size, and its
    terms join the detector's loss dict, whatever heads it has. Predictions carry
    ``macs``, ``macs_ratio`` (of the backbone) and ``densities``.

    Args:
        detector: Registered name of the detector, with its scope.
        budget: Config of a ``MACsBudgetLoss``; None trains without.
        gates: ``mode`` ('simulate' or 'execute'), ``backend``, ``return_masks``,
            ``fused_gates`` and ``profile``: see
            :meth:`~dynnet.models.gates.gated_model.GatedModelMixin.setup_gates`.
        **kwargs: The detector's own.

    Returns:
        An instance of a subclass of the detector; its state dict has the plain
        detector's keys and those of the gates.

    Raises:
        ConfigError: No such detector, a backbone without gates, or unknown settings.
        ImportError: mmdet is not installed.
    """
    require('mmdet', needed_by='dynnet.GatedDetector')
    base = MODELS.get(detector)
    if base is None:
        raise ConfigError(f"detector={detector!r} is not registered: try 'mmdet.X'")
    settings = dict(gates or {})
    unknown = settings.keys() - GATE_SETTINGS
    if unknown:
        raise ConfigError(f'unknown keys in gates: {sorted(unknown)}')
    model = _gated(base)(**kwargs)
    model.setup_gates(budget, **settings)
    return model


@functools.cache
def _gated(base: type[BaseModel]) -> type[BaseModel]:
    """Derive the gated form of a detector's class."""
    return type(f'Gated{base.__name__}', (GatedModelMixin, base), {})
