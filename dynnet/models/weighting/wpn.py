"""The weight prediction network (WPN) of L2W-DEN."""

import torch
from mmengine.model import BaseModule, ModuleList
from torch import Tensor, nn

from dynnet.registry import MODELS
from dynnet.utils.errors import ConfigError

INPUT_TYPES = ('loss', 'conf', 'both')
# What the mean is taken over, in the paper's words, of a table (samples, exits).
CENTRES = dict(row=(0,), col=(1,), mat=(0, 1))
ACTIVATIONS = dict(tanh=torch.tanh, sigmoid=torch.sigmoid)


def centre_weights(outputs: Tensor, delta: float, centre: str) -> Tensor:
    r"""Turn the WPN's outputs into weights, :math:`w = 1 + \delta (u - \bar u)`.

    The weights' sum over what is centred is constant. They may be negative: with
    outputs in (-1, 1) they lie in :math:`(1 - 2\delta, 1 + 2\delta)`, and are not
    clipped.

    Args:
        outputs: u, (N, E).
        delta: Strength of the weighting; 0 gives ones.
        centre: What the mean is over: ``'row'`` the samples (per exit), ``'col'`` the
            exits (per sample), ``'mat'`` both.

    Returns:
        Weights (N, E).

    Raises:
        ValueError: Unknown ``centre``.
    """
    if centre not in CENTRES:
        raise ConfigError(f'centre={centre!r}: choose one of {tuple(CENTRES)}')
    return 1 + delta * (outputs - outputs.mean(CENTRES[centre], keepdim=True))


class _Hidden(nn.Module):
    """A linear layer and its ReLU, by the published name."""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        self.fc = nn.Linear(in_features, out_features)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(x).relu()


@MODELS.register_module()
class WeightPredictionNetwork(BaseModule):
    """Predict a weight for every sample at every exit.

    An MLP on what the exits say about a sample: losses, confidences or both. Its
    inputs are not normalised.

    Args:
        num_exits: E.
        hidden_size: Width of the hidden layers.
        num_layers: Number of hidden layers.
        input_type: ``'loss'``, ``'conf'`` (largest softmax) or ``'both'``, losses
            first.
        activation: Of the output: ``'tanh'``, as published, or ``'sigmoid'``.
        centre: See :func:`centre_weights`.
        delta: See :func:`centre_weights`.
        init_cfg: mmengine's initialisation config; PyTorch's default as published.

    Raises:
        ValueError: An unknown choice or a size below one.
    """

    def __init__(
        self,
        num_exits: int,
        hidden_size: int = 500,
        num_layers: int = 1,
        input_type: str = 'loss',
        activation: str = 'tanh',
        centre: str = 'col',
        delta: float = 0.8,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        for name, value, choices in (
            ('input_type', input_type, INPUT_TYPES),
            ('activation', activation, tuple(ACTIVATIONS)),
            ('centre', centre, tuple(CENTRES)),
        ):
            if value not in choices:
                raise ConfigError(f'wpn.{name}={value!r}: choose one of {choices}')
        for name, value in (
            ('num_exits', num_exits),
            ('hidden_size', hidden_size),
            ('num_layers', num_layers),
        ):
            if value < 1:
                raise ConfigError(f'wpn.{name}={value}: must be at least 1')
        self.num_exits = num_exits
        self.input_type = input_type
        self.activation = activation
        self.centre = centre
        self.delta = delta
        inputs = num_exits * (2 if input_type == 'both' else 1)
        self.first_hidden_layer = _Hidden(inputs, hidden_size)
        self.rest_hidden_layers = ModuleList(
            _Hidden(hidden_size, hidden_size) for _ in range(num_layers - 1)
        )
        self.output_layer = nn.Linear(hidden_size, num_exits)

    def make_input(self, losses: Tensor, confidences: Tensor) -> Tensor:
        """Choose what the network looks at, cut off from the graph.

        Args:
            losses: (N, E).
            confidences: (N, E), largest softmax.

        Returns:
            (N, E), or (N, 2 E) for ``'both'``.
        """
        parts = dict(loss=(losses,), conf=(confidences,), both=(losses, confidences))[
            self.input_type
        ]
        return torch.cat(parts, dim=1).detach()

    def forward(self, x: Tensor) -> Tensor:
        """Map the input to u (N, E): in (-1, 1) for tanh, in (0, 1) for sigmoid."""
        x = self.first_hidden_layer(x)
        for layer in self.rest_hidden_layers:
            x = layer(x)
        return ACTIVATIONS[self.activation](self.output_layer(x))

    def weights(self, x: Tensor) -> Tensor:
        """Map the input to weights (N, E), centred over the samples given."""
        return centre_weights(self(x), self.delta, self.centre)
