"""Where to look: AdaFocus's recurrent policy over places in the frame."""

import math
from dataclasses import dataclass

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from dynnet.ops.patches import action_grid
from dynnet.registry import MODELS
from dynnet.utils.errors import ConfigError

KINDS = ('discrete', 'continuous')


@dataclass
class PolicyOutput:
    """What a policy says about T steps of N clips.

    Attributes:
        actor: Probabilities of the places (T, N, n), or the means (y, x) (T, N, 2).
        values: The critic's (T, N).
        hidden: Memory after every step (T, N, D).
        encoded: What the memory was fed with (T, N, D).
        gates: Probability of looking closely (T, N), or None.
    """

    actor: Tensor
    values: Tensor
    hidden: Tensor
    encoded: Tensor
    gates: Tensor | None = None


@MODELS.register_module()
class PatchPolicy(BaseModule):
    """A recurrent policy: which patch of each frame to look at.

    Chen et al., *Adaptive Focus for Efficient Video Recognition*, ICCV 2021
    (arXiv:2105.03245), section 3. Each global feature map is encoded by a 1x1
    convolution and a linear layer, a GRU carries what was seen before, an actor gives
    the distribution over places, a critic the expected return.

    Actions are indices (..., ) of a grid of places for ``kind='discrete'``, and pairs
    (y, x) (..., 2) in [0, 1] for ``'continuous'``; :meth:`places` gives the pairs of
    either.

    Args:
        in_channels: Channels of the maps.
        map_size: Side of the maps.
        mid_channels: Channels after the 1x1 convolution.
        hidden_channels: Width D of the encoding and of the memory.
        kind: ``'discrete'`` or ``'continuous'``.
        num_actions: Places of the grid, a square number.
        action_std: Standard deviation per coordinate of continuous actions.
        with_bn: Batch normalisation in the encoder.
        with_gate: A gate that says whether to look at the frame at all (our
            reconstruction of the paper's frame skipping).
        init_cfg: mmengine's initialisation config.

    Raises:
        ConfigError: Unknown kind, or ``num_actions`` that make no grid.
    """

    def __init__(
        self,
        in_channels: int = 1280,
        map_size: int = 7,
        mid_channels: int = 32,
        hidden_channels: int = 1024,
        kind: str = 'discrete',
        num_actions: int = 49,
        action_std: float = 0.25,
        with_bn: bool = False,
        with_gate: bool = False,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if kind not in KINDS:
            raise ConfigError(f'kind={kind!r} must be one of {", ".join(KINDS)}')
        self.in_channels, self.map_size = in_channels, map_size
        self.kind, self.action_std = kind, action_std
        conv = [nn.Conv2d(in_channels, mid_channels, 1, bias=False)]
        linear = [nn.Linear(mid_channels * map_size**2, hidden_channels)]
        if with_bn:
            conv.append(nn.BatchNorm2d(mid_channels))
            linear.append(nn.BatchNorm1d(hidden_channels))
        self.encoder = nn.Sequential(*conv, nn.ReLU(), nn.Flatten(), *linear, nn.ReLU())
        self.gru = nn.GRU(hidden_channels, hidden_channels)
        if kind == 'discrete':
            # Not in the state dict: it follows from num_actions.
            self.register_buffer('grid', action_grid(num_actions), persistent=False)
        self.actor = nn.Linear(
            hidden_channels, num_actions if kind == 'discrete' else 2
        )
        self.critic = nn.Linear(hidden_channels, 1)
        self.gate = nn.Linear(hidden_channels, 1) if with_gate else None

    @property
    def continuous(self) -> bool:
        """Whether actions are pairs of coordinates."""
        return self.kind == 'continuous'

    @property
    def with_bn(self) -> bool:
        """Whether the encoder normalises by the batch."""
        return any(isinstance(m, nn.BatchNorm2d) for m in self.encoder)

    def forward(self, states: Tensor, hidden: Tensor | None = None) -> PolicyOutput:
        """Run T steps: the encoder on all maps at once, then the memory.

        Args:
            states: Global feature maps (T, N, C, h, w).
            hidden: Memory before the first step (N, D); None for zeros.

        Returns:
            The output of all steps.

        Raises:
            ConfigError: Maps of another size than ``map_size``.
        """
        steps, samples = states.shape[:2]
        if states.shape[-2:] != (self.map_size, self.map_size):
            raise ConfigError(
                f'policy.map_size={self.map_size}, but the global maps are '
                f'{states.shape[-2]}x{states.shape[-1]}: frames of another size?'
            )
        encoded = self.encoder(states.flatten(0, 1)).view(steps, samples, -1)
        out, _ = self.gru(encoded, None if hidden is None else hidden[None])
        actor = self.actor(out)
        actor = actor.sigmoid() if self.continuous else actor.softmax(-1)
        gates = None if self.gate is None else self.gate(out).sigmoid().squeeze(-1)
        return PolicyOutput(actor, self.critic(out).squeeze(-1), out, encoded, gates)

    def greedy(self, output: PolicyOutput) -> Tensor:
        """The best actions: indices (T, N), or pairs (T, N, 2)."""
        return output.actor if self.continuous else output.actor.argmax(-1)

    @torch.no_grad()
    def sample(
        self, output: PolicyOutput, generator: torch.Generator | None = None
    ) -> Tensor:
        """Draw actions: indices (T, N), or pairs (T, N, 2), clamped to [0, 1]."""
        actor = output.actor
        if self.continuous:
            noise = torch.empty_like(actor).normal_(generator=generator)
            return (actor + self.action_std * noise).clamp(0, 1)
        drawn = torch.multinomial(actor.flatten(0, -2), 1, generator=generator)
        return drawn.view(actor.shape[:-1])

    def places(self, actions: Tensor) -> Tensor:
        """Pairs (y, x) in [0, 1] of actions, (..., 2)."""
        return actions if self.continuous else self.grid[actions]

    def log_probs(self, output: PolicyOutput, actions: Tensor) -> Tensor:
        """Log-probabilities (T, N) of actions.

        Of the discrete ones by probabilities clamped at float32's epsilon, as
        ``torch.distributions`` does; of the continuous ones as the density at the
        clamped action.
        """
        if self.continuous:
            scaled = (actions - output.actor) / self.action_std
            norm = math.log(self.action_std) + 0.5 * math.log(2 * math.pi)
            return (-0.5 * scaled.square() - norm).sum(-1)
        chosen = output.actor.gather(-1, actions[..., None]).squeeze(-1)
        eps = torch.finfo(chosen.dtype).eps
        return chosen.clamp(eps, 1 - eps).log()

    def entropy(self, output: PolicyOutput) -> Tensor:
        """Entropy (T, N) in nats; constant for continuous actions."""
        if self.continuous:
            one = 0.5 + 0.5 * math.log(2 * math.pi) + math.log(self.action_std)
            return torch.full_like(output.values, 2 * one)
        eps = torch.finfo(output.actor.dtype).eps
        logs = output.actor.clamp(eps, 1 - eps).log()
        return -(output.actor * logs).sum(-1)
