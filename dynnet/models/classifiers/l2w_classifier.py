"""A multi-exit classifier that learns how much each sample counts at each exit."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from mmengine.dist import all_reduce_params, get_world_size
from mmengine.optim import OptimWrapper, OptimWrapperDict
from mmpretrain.models.losses import CrossEntropyLoss
from torch import Tensor, nn
from torch.func import functional_call

from dynnet.registry import MODELS
from dynnet.utils.errors import ConfigError

from ..exits import assign_by_shares, exit_shares
from ..exits.shares import check_shares
from ..heads.multi_exit_head import gather_target
from ..weighting.checks import (
    check_finite,
    check_optimizers,
    split_batch,
)
from ..weighting.lookahead import (
    confidence,
    copy_buffers,
    directional_losses,
    meta_loss,
    sgd_lookahead,
    trainable_parameters,
)
from ..weighting.random_state import RandomState
from .multi_exit_classifier import MultiExitClassifier

# Pictures (N, 3, H, W) with labels (N,) or scores (N, C).
Half = tuple[Tensor, Tensor]
WPN_LOSSES = ('real', 'plain')


@dataclass
class Lookahead:
    """What the pseudo step of one half found.

    Attributes:
        theta_hat: Parameters after the pseudo step, by name.
        logits: Of the meta half at ``theta_hat``, (E, M, C).
        exit_index: Exit that each of its samples is assigned to, (M,), from 0.
        loss: The meta loss, a scalar.
        weights: Weights that the pseudo step was taken with, (N, E).
        weight_gradient: d loss / d weights, (N, E).
    """

    theta_hat: dict[str, Tensor]
    logits: Tensor
    exit_index: Tensor
    loss: Tensor
    weights: Tensor
    weight_gradient: Tensor


@dataclass
class HalfStep:
    """One SGD step on one half of a batch.

    Attributes:
        logits: Of the half before the step, (E, N, C).
        losses: Unweighted losses, (N, E).
        weights: The weights that they were given, (N, E).
        weighted: Weighted loss of every exit, (E,).
        lookahead: What the meta step before it found, if one was due.
    """

    logits: Tensor
    losses: Tensor
    weights: Tensor
    weighted: Tensor
    lookahead: Lookahead | None


@dataclass
class WeightingRecord:
    """What hooks may look at after a training step.

    Attributes:
        losses: Unweighted losses of the whole batch, (N, E).
        weights: Their weights, (N, E).
        shares: Fraction of the meta samples assigned to each exit, (E,); None where no
            meta step was due.
    """

    losses: Tensor
    weights: Tensor
    shares: Tensor | None


@MODELS.register_module()
class L2WClassifier(MultiExitClassifier):
    """A multi-exit classifier trained by L2W-DEN: learning to weight samples.

    A batch is cut in two halves. Each is trained on in turn, the other being its meta
    half: a weight prediction network (WPN) looks at the exits' losses and gives every
    sample a weight at every exit; it is taught by how the meta half fares after such a
    step, its samples being assigned to the exits as they would leave under a budget.
    So one batch makes two SGD steps, each on half of it, and the SGD learning rate is
    for half of a loader batch. At test time this is a :class:`MultiExitClassifier`.

    Training needs ``optim_wrapper`` with the constructor
    ``dynnet.SplitOptimWrapperConstructor`` and the parts ``model`` (SGD) and ``wpn``;
    the hook ``dynnet.L2WHook``; and, with several processes, the model wrapper
    ``dynnet.OwnStepDataParallel``. Every process then centres weights, assigns samples
    and takes pseudo steps on its own part of the batch, as published; the gradients of
    the WPN and of the network are averaged.

    Args:
        backbone: A multi-exit backbone.
        head: A ``MultiExitHead``. Its ``loss`` is the *real* loss, label smoothing and
            all; its ``loss_weights`` apply besides the learned weights.
        wpn: Config of the :class:`WeightPredictionNetwork`; the number of exits is
            filled in.
        target: The budget that the meta samples are assigned for: p of
            :func:`exit_shares` (15, as published, lets more leave early than late), or
            a list of shares, one per exit. An exit whose quota is rounded to zero takes
            no part in the meta loss.
        meta_interval: The WPN learns from batches 0, I, 2 I, ... of every epoch.
        wpn_loss: Which losses the WPN sees: ``'real'`` ones, or ``'plain'``
            cross-entropies without smoothing. May be left out where they are the same.
            (The meta loss is the plain cross-entropy always. After mixup both are
            against the mixed scores.)
        kwargs: Those of :class:`MultiExitClassifier`.

    Raises:
        ValueError: A WPN for another number of exits, bad shares, an interval below
            one, or no choice of ``wpn_loss`` where it matters.
    """

    def __init__(
        self,
        backbone: dict,
        head: dict,
        wpn: dict | None = None,
        target: float | Sequence[float] = 15,
        meta_interval: int = 1,
        wpn_loss: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(backbone=backbone, head=head, **kwargs)
        wpn = dict(wpn or {})
        wpn.setdefault('type', 'dynnet.WeightPredictionNetwork')
        wpn.setdefault('num_exits', self.num_exits)
        self.wpn = MODELS.build(wpn)
        if self.wpn.num_exits != self.num_exits:
            raise ConfigError(
                f'the WPN is built for {self.wpn.num_exits} exits, the net has '
                f'{self.num_exits}'
            )
        self.shares: np.ndarray = (
            exit_shares(target, self.num_exits)
            if isinstance(target, (int, float))
            else check_shares(target, self.num_exits)
        )
        if meta_interval < 1:
            raise ConfigError(f'meta_interval={meta_interval}: must be at least 1')
        self.meta_interval = meta_interval
        self._real_is_plain = _is_plain(self.head.loss_module)
        if wpn_loss is None:
            if not self._real_is_plain:
                raise ConfigError(
                    'the real loss is not the plain cross-entropy: say which of them '
                    "the WPN sees, wpn_loss='real' or 'plain'"
                )
            wpn_loss = 'real'
        if wpn_loss not in WPN_LOSSES:
            raise ConfigError(f'wpn_loss={wpn_loss!r}: choose one of {WPN_LOSSES}')
        self.wpn_loss = wpn_loss
        # Set by L2WHook; read by hooks.
        self.batch_index: int | None = None
        self.weighting_record: WeightingRecord | None = None

    def train_step(
        self, data: dict, optim_wrapper: OptimWrapperDict
    ) -> dict[str, Tensor]:
        """Train on both halves of a batch.

        Args:
            data: A batch of the loader. (An odd one's first half is the larger.)
            optim_wrapper: With the parts ``model`` and ``wpn``.

        Returns:
            Weighted losses ``loss_exit{k}`` and their sum ``loss``, means of the
            halves; ``meta_loss`` where a meta step was due.

        Raises:
            ConfigError: The batch cannot be halved, or the optimizers do not fit.
            NonFiniteLossError: A loss is NaN or infinite; nothing was updated by it.
        """
        check_optimizers(optim_wrapper)
        halves = [self._prepare(half) for half in split_batch(data)]
        due = self._meta_is_due()
        logs, losses, weights, assigned = [], [], [], []
        for train, meta in (halves, halves[::-1]):
            step = self.half_step(train, meta if due else None, optim_wrapper)
            log = {f'loss_exit{k}': x for k, x in enumerate(step.weighted, start=1)}
            log['loss'] = step.weighted.sum()
            if step.lookahead is not None:
                log['meta_loss'] = step.lookahead.loss
                assigned.append(step.lookahead.exit_index)
            logs.append(log)
            losses.append(step.losses)
            weights.append(step.weights)
        shares = None
        if due:
            counts = torch.cat(assigned).bincount(minlength=self.num_exits)
            shares = counts / counts.sum()
        self.weighting_record = WeightingRecord(
            torch.cat(losses), torch.cat(weights), shares
        )
        return {name: (logs[0][name] + logs[1][name]) / 2 for name in logs[0]}

    def half_step(
        self, train: Half, meta: Half | None, optim_wrapper: OptimWrapperDict
    ) -> HalfStep:
        """Train on one half, after a step of the WPN where there is a meta half.

        Args:
            train: Preprocessed pictures and targets.
            meta: The other half, or None for no meta step.
            optim_wrapper: With the parts ``model`` and ``wpn``.

        Returns:
            What happened.

        Raises:
            NonFiniteLossError: A loss is NaN or infinite.
        """
        inputs, target = train
        rng = RandomState(inputs.device)
        # One forward for both passes: losses do not depend on the weights. Only this
        # one moves the BN statistics.
        logits = self(inputs)
        losses = self.sample_losses(logits, target)
        check_finite(losses)
        seen = self._seen(logits.detach(), losses, target)

        lookahead = None
        if meta is not None:
            weights = self.wpn.weights(seen)
            lookahead = self._look_ahead(
                train, losses, weights, meta, optim_wrapper['model'], rng
            )
            # Its gradient is that of the meta loss: d loss / d weights is known.
            stand_in = (weights * lookahead.weight_gradient).sum()
            _update(optim_wrapper['wpn'], stand_in, self.wpn.parameters())

        with torch.no_grad():
            weights = self.wpn.weights(seen)
        weighted = self._weighted(losses, weights)
        _update(optim_wrapper['model'], weighted.sum(), self._network_parameters())
        return HalfStep(
            logits.detach(), losses.detach(), weights, weighted.detach(), lookahead
        )

    def _seen(self, logits: Tensor, losses: Tensor, target: Tensor) -> Tensor:
        """What the WPN looks at."""
        if self.wpn_loss == 'plain' and not self._real_is_plain:
            losses = plain_losses(logits, target)
        return self.wpn.make_input(losses, confidence(logits).t())

    @torch.no_grad()
    def predict_weights(self, inputs: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Say how much samples would count now, for analysis.

        Args:
            inputs: Preprocessed pictures (N, 3, H, W).
            target: Labels (N,) or scores (N, C).

        Returns:
            Unweighted real losses and weights, (N, E) each; the weights are centred
            over these samples.
        """
        logits = self(inputs)
        losses = self.sample_losses(logits, target)
        return losses, self.wpn.weights(self._seen(logits, losses, target))

    def sample_losses(self, logits: Tensor, target: Tensor) -> Tensor:
        """The real loss of every sample at every exit.

        Args:
            logits: (E, N, C).
            target: Labels (N,) or scores (N, C).

        Returns:
            (N, E).
        """
        losses = [
            self.head.loss_module(exit_logits, target, reduction_override='none')
            for exit_logits in logits
        ]
        return torch.stack(losses, dim=1)

    def _look_ahead(
        self,
        train: Half,
        losses: Tensor,
        weights: Tensor,
        meta: Half,
        optim_wrapper: OptimWrapper,
        rng: RandomState,
    ) -> Lookahead:
        """Take the pseudo step and differentiate the meta loss by the weights."""
        inputs, target = train
        optimizer = optim_wrapper.optimizer
        parameters = trainable_parameters(self, optimizer)
        weighted = self._weighted(losses, weights.detach()).sum()
        gradients = torch.autograd.grad(
            weighted, list(parameters.values()), retain_graph=True, allow_unused=True
        )
        theta_hat, slopes = sgd_lookahead(
            parameters, dict(zip(parameters, gradients)), optimizer
        )
        for value in theta_hat.values():
            value.requires_grad_()

        logits = self._at(theta_hat, meta[0])
        meta_losses = plain_losses(logits, meta[1])
        check_finite(meta_losses, 'after the pseudo step')
        exit_index = assign_by_shares(confidence(logits.detach()), self.shares)
        loss = meta_loss(meta_losses, exit_index)
        gradients = torch.autograd.grad(
            loss, list(theta_hat.values()), allow_unused=True
        )
        direction = {
            name: gradient.mul_(slopes[name])
            for name, gradient in zip(theta_hat, gradients)
            if gradient is not None
        }

        def losses_at(values: dict[str, Tensor]) -> Tensor:
            return self.sample_losses(self._at(values, inputs), target)

        with rng.again():
            derivative = directional_losses(losses_at, parameters, direction)
        scale = derivative.new_tensor(self.head.loss_weights) / len(inputs)
        return Lookahead(
            theta_hat,
            logits.detach(),
            exit_index,
            loss.detach(),
            weights.detach(),
            derivative * scale,
        )

    def _at(self, parameters: dict[str, Tensor], inputs: Tensor) -> Tensor:
        """Logits (E, N, C) at other parameters; BN statistics stay as they are."""
        return functional_call(self, {**copy_buffers(self), **parameters}, (inputs,))

    def _weighted(self, losses: Tensor, weights: Tensor) -> Tensor:
        """The weighted loss of every exit, (E,): means over the samples."""
        return (weights * losses).mean(0) * losses.new_tensor(self.head.loss_weights)

    def _network_parameters(self) -> list[Tensor]:
        own = {id(p) for p in self.wpn.parameters()}
        return [p for p in self.parameters() if id(p) not in own]

    def _prepare(self, data: dict) -> Half:
        data = self.data_preprocessor(data, True)
        return data['inputs'], gather_target(
            data['data_samples'], self.head.num_classes
        )

    def _meta_is_due(self) -> bool:
        if self.meta_interval == 1:
            return True
        if self.batch_index is None:
            raise ConfigError(
                f'meta_interval={self.meta_interval} counts the batches of an epoch: '
                "add dict(type='dynnet.L2WHook') to custom_hooks"
            )
        return self.batch_index % self.meta_interval == 0


def plain_losses(logits: Tensor, target: Tensor) -> Tensor:
    """Plain cross-entropies.

    Args:
        logits: (E, N, C).
        target: Labels (N,) or scores (N, C).

    Returns:
        (N, E).
    """
    losses = [F.cross_entropy(x, target, reduction='none') for x in logits]
    return torch.stack(losses, dim=1)


def _is_plain(loss: nn.Module) -> bool:
    """Whether a loss module computes the plain cross-entropy."""
    return (
        type(loss) is CrossEntropyLoss
        and not loss.use_sigmoid
        and loss.loss_weight == 1
        and loss.class_weight is None
    )


def _update(wrapper: OptimWrapper, loss: Tensor, parameters: Any) -> None:
    """Step on the gradient of a loss, averaged over the processes."""
    wrapper.backward(loss)
    if get_world_size() > 1:
        gradients = [p.grad for p in parameters if p.grad is not None]
        all_reduce_params(gradients, op='mean')
    wrapper.step()
    wrapper.zero_grad()
