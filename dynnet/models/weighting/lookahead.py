"""One SGD step ahead, and what the sample weights in it have done.

In the notation of L2W-DEN: theta are the network's parameters, L (N, E) the
losses of its training half, w (N, E) their weights. The *pseudo step* takes theta to
theta_hat(w), one step of the real optimizer on sum(w * L) / N, without taking it. The
meta loss is what the other half says of theta_hat.

The meta loss depends on w through theta_hat alone, and that depends on w linearly: with
v the meta loss's gradient at theta_hat and c the step's slope (-lr, for plain SGD),

    d meta_loss / d w_ik = c / N * <v, dL_ik / d theta>,

which is one directional derivative of all the losses at once. No second derivative is
needed.
"""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torch.optim import SGD, Optimizer

from dynnet.utils.errors import ConfigError

Tensors = dict[str, Tensor]


def confidence(logits: Tensor) -> Tensor:
    """The largest softmax, in float32 at least: half precision ties near one.

    Args:
        logits: (..., C).

    Returns:
        (...).
    """
    dtype = torch.promote_types(logits.dtype, torch.float32)
    return logits.softmax(-1, dtype=dtype).amax(-1)


def trainable_parameters(model: nn.Module, optimizer: Optimizer) -> Tensors:
    """Name the parameters that a step of the optimizer moves.

    Args:
        model: The network.
        optimizer: Its optimizer.

    Returns:
        Name to parameter, in the model's order.
    """
    stepped = {id(p) for group in optimizer.param_groups for p in group['params']}
    return {
        name: parameter
        for name, parameter in model.named_parameters()
        if parameter.requires_grad and id(parameter) in stepped
    }


@torch.no_grad()
def sgd_lookahead(
    parameters: Mapping[str, Tensor],
    gradients: Mapping[str, Tensor | None],
    optimizer: SGD,
) -> tuple[Tensors, dict[str, float]]:
    """Compute what a step of SGD would make of the parameters, without taking it.

    Momentum buffers, learning rates and weight decays are the optimizer's current ones,
    per group; dampening and Nesterov momentum are taken into account.

    Args:
        parameters: Name to parameter of the optimizer.
        gradients: Name to gradient, or None for a parameter that takes no part.

    Returns:
        Name to the parameter after the step (those that take part), and name to the
        step's slope: d parameter_after / d gradient, the same number for all elements.

    Raises:
        ConfigError: Another optimizer than SGD, or one that maximises.
    """
    if not isinstance(optimizer, SGD):
        raise ConfigError(
            'the pseudo step is that of SGD: optim_wrapper.model.optimizer is '
            f'{type(optimizer).__name__}'
        )
    groups = {id(p): group for group in optimizer.param_groups for p in group['params']}
    after, slopes = {}, {}
    for name, parameter in parameters.items():
        gradient = gradients[name]
        if gradient is None:
            continue
        group = groups[id(parameter)]
        if group['maximize']:
            raise ConfigError('the pseudo step cannot maximise: set maximize=False')
        momentum, slope = group['momentum'], 1.0
        if group['weight_decay']:
            gradient = gradient.add(parameter, alpha=group['weight_decay'])
        if momentum:
            # SGD starts its buffer with the whole gradient, undamped.
            buffer = optimizer.state[parameter].get('momentum_buffer')
            running = gradient
            if buffer is not None:
                slope = 1.0 - group['dampening']
                running = buffer.mul(momentum).add(gradient, alpha=slope)
            if group['nesterov']:
                gradient = gradient.add(running, alpha=momentum)
                slope = 1.0 + momentum * slope
            else:
                gradient = running
        after[name] = parameter.sub(gradient, alpha=group['lr'])
        slopes[name] = -float(group['lr']) * slope
    return after, slopes


def meta_loss(losses: Tensor, exit_index: Tensor) -> Tensor:
    """Sum over the exits of the mean loss of the samples assigned to each.

    Exits are not weighted by how many samples they have; one without any adds nothing.

    Args:
        losses: (N, E).
        exit_index: Exit that every sample is assigned to, (N,), from 0.

    Returns:
        A scalar.
    """
    member = nn.functional.one_hot(exit_index, losses.size(1)).to(losses)
    counts = member.sum(0)
    # where, not a product: a loss that is not asked for may be infinite.
    chosen = torch.where(member.bool(), losses, torch.zeros_like(losses))
    return (chosen.sum(0) / counts.clamp(min=1)).sum()


def directional_losses(
    losses_of: Callable[[Tensors], Tensor],
    parameters: Mapping[str, Tensor],
    direction: Mapping[str, Tensor],
) -> Tensor:
    """Differentiate all losses along one direction of the parameters.

    One pass in forward mode: every loss's derivative at the price of about two
    forwards, without a graph.

    Args:
        losses_of: Maps parameters to losses (N, E).
        parameters: Where.
        direction: Along what; a parameter without one does not move.

    Returns:
        (N, E).
    """
    at = {name: parameters[name].detach() for name in direction}
    with torch.no_grad():
        _, derivative = torch.func.jvp(losses_of, (at,), (dict(direction),))
    return derivative


def copy_buffers(model: nn.Module) -> Tensors:
    """Copies of all buffers, for a forward that must not leave a trace in BNs."""
    return {name: buffer.clone() for name, buffer in model.named_buffers()}
