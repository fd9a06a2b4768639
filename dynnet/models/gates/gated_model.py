"""What a classifier or a detector with a gated backbone adds to its toolbox's own."""

from collections.abc import Sequence

from mmengine.structures import BaseDataElement
from torch import Tensor, nn

from dynnet.ops.sparse_conv import Rule
from dynnet.registry import MODELS
from dynnet.utils.errors import ConfigError

from .execution import GatedBlock, set_execution
from .meter import GateMeter, measure_gates

# What a config may say of gates at test time.
GATE_SETTINGS = {'mode', 'backend', 'return_masks', 'fused_gates', 'profile'}


class GatedModelMixin:
    """Adds the gates' losses to the loss dict and their costs to the predictions.

    Put it before an mm model that has ``loss`` and ``predict``, and call
    :meth:`setup_gates` when the model is built.
    """

    def setup_gates(
        self,
        budget: dict | nn.Module | None,
        mode: str = 'simulate',
        backend: str = 'auto',
        return_masks: bool = False,
        fused_gates: bool = False,
        profile: str | None = None,
    ) -> None:
        """Build the budget loss and set the test-time mode.

        Args:
            budget: Config of a ``MACsBudgetLoss``; None trains without.
            mode: ``'simulate'`` or ``'execute'``.
            backend: Backend of the execution.
            return_masks: Whether predictions carry the gates' decisions.
            fused_gates: Whether executing gates are one C++ pass; see
                :func:`set_execution`.
            profile: JSON file of a calibrated CPU: ``backend='auto'`` then takes for
                every block the backend that is predicted to be fastest.

        Raises:
            ConfigError: Unknown mode or backend, a model without gates, or a profile
                that cannot be used.
        """
        if budget is not None and not isinstance(budget, nn.Module):
            budget = MODELS.build(budget)
        self.budget = budget
        self.backend, self.rule = backend, None
        if profile is not None:
            self.rule = self._profile_rule(profile)
        self.return_masks = return_masks
        self.fused_gates = fused_gates
        self.mode = mode
        if not any(isinstance(m, GatedBlock) for m in self.modules()):
            raise ConfigError(f'{type(self).__name__} needs a backbone with gates')

    def _profile_rule(self, profile: str) -> Rule:
        # Only who asks for it needs the predictor.
        from dynnet.latency.rule import ProfileRule

        if self.backend != 'auto':
            raise ConfigError(
                f"profile={profile!r} chooses backends: it needs backend='auto', not "
                f'{self.backend!r}'
            )
        return ProfileRule.load(profile)

    @property
    def mode(self) -> str:
        """Test-time mode: 'simulate' or 'execute'."""
        return self._mode

    @mode.setter
    def mode(self, mode: str) -> None:
        set_execution(self, mode, self.backend, self.rule, self.fused_gates)
        self._mode = mode

    def full_macs(self, inputs: Tensor) -> float | None:
        """What the budget divides by; None: the gated network's own dense MACs."""
        return None

    def loss(self, inputs: Tensor, data_samples: list) -> dict[str, Tensor]:
        """Compute the model's own losses and those of the gates."""
        with measure_gates() as meter:
            losses = super().loss(inputs, data_samples)
        return self.add_gate_losses(losses, meter, inputs)

    def add_gate_losses(
        self, losses: dict, meter: GateMeter, inputs: Tensor
    ) -> dict[str, Tensor]:
        """Add the budget's losses and numbers for the log."""
        if self.budget is not None:
            losses.update(self.budget(meter, self.full_macs(inputs)))
        return losses

    def predict(
        self, inputs: Tensor, data_samples: list | None = None, **kwargs
    ) -> Sequence[BaseDataElement]:
        """Predict, and say what it cost.

        Returns:
            The model's own samples with ``macs`` (1,), float64, ``macs_ratio`` (1,), of
            computing everything, and ``densities`` (blocks,). With ``return_masks``
            also ``gate_masks``, one (h, w) per block, bool.
        """
        with measure_gates() as meter:
            samples = super().predict(inputs, data_samples, **kwargs)
        self.count_head(meter)
        macs = meter.sample_macs.cpu()
        densities = meter.sample_densities
        for i, sample in enumerate(samples):
            sample.set_field(macs[i : i + 1], 'macs', dtype=Tensor)
            ratio = macs[i : i + 1] / meter.dense_macs
            sample.set_field(ratio, 'macs_ratio', dtype=Tensor)
            sample.set_field(densities[i], 'densities', dtype=Tensor)
            if self.return_masks:
                masks = [r.gate.coarse[i].amax(0) > 0.5 for r in meter.records]
                sample.set_field(masks, 'gate_masks', dtype=list)
        return samples

    def count_head(self, meter: GateMeter) -> None:
        """Add what runs after the backbone to the meter; here nothing is counted."""
