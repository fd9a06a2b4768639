"""One batch of L2W-DEN in the plain form: differentiate through the pseudo step.

Written from the method's formulas, without the first-order identity that
``dynnet.models.weighting`` uses: the pseudo step's gradient keeps its graph and the
meta loss is differentiated through it. Two forwards of every training half, one for the
pseudo step and one for the real one. What a plain port costs; tests use it as the
reference.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

Half = tuple[Tensor, Tensor]


def _forward(model: nn.Module, values: dict[str, Tensor], x: Tensor) -> Tensor:
    """Logits (E, N, C) at other parameters, on a copy of the buffers."""
    buffers = {name: b.clone() for name, b in model.named_buffers()}
    return functional_call(model, {**buffers, **values}, (x,))


def _losses(logits: Tensor, target: Tensor) -> Tensor:
    losses = [F.cross_entropy(x, target, reduction='none') for x in logits]
    return torch.stack(losses, 1)


def _weights(wpn: nn.Module, logits: Tensor, losses: Tensor) -> Tensor:
    confidence = logits.softmax(-1).amax(-1).t()
    parts = dict(loss=[losses], conf=[confidence], both=[losses, confidence])
    u = wpn(torch.cat(parts[wpn.input_type], 1).detach())
    axes = dict(row=(0,), col=(1,), mat=(0, 1))[wpn.centre]
    return 1 + wpn.delta * (u - u.mean(axes, keepdim=True))


def assign(confidence: Tensor, shares: list[float]) -> list[list[int]]:
    """Per exit, the samples it takes: sorted by confidence (E, N), as in words."""
    num_exits, n = confidence.shape
    left, taken = list(range(n)), []
    for k in range(num_exits - 1):
        # sorted() is stable: of ties, the first come first.
        ranked = sorted(left, key=lambda j, k=k: -float(confidence[k, j]))
        taken.append(ranked[: int(torch.tensor(shares[k]) * n)])
        left = [j for j in left if j not in taken[-1]]
    return [*taken, left]


def pseudo_parameters(
    parameters: dict[str, Tensor],
    gradients: list[Tensor | None],
    optimizer: torch.optim.SGD,
) -> dict[str, Tensor]:
    """The parameters after a step of SGD, with the graph of the gradients."""
    groups = {id(p): g for g in optimizer.param_groups for p in g['params']}
    after = {}
    for (name, parameter), gradient in zip(parameters.items(), gradients):
        if gradient is None:  # SGD passes over it
            after[name] = parameter
            continue
        group = groups[id(parameter)]
        d = gradient + group['weight_decay'] * parameter
        if group['momentum']:
            buffer = optimizer.state[parameter].get('momentum_buffer')
            m = d
            if buffer is not None:
                m = group['momentum'] * buffer + (1 - group['dampening']) * d
            d = d + group['momentum'] * m if group['nesterov'] else m
        after[name] = parameter - group['lr'] * d
    return after


def meta_gradients(
    model: nn.Module,
    train: Half,
    meta: Half,
    optimizer: torch.optim.SGD,
    pruned: bool = False,
) -> tuple[list[Tensor], Tensor]:
    """Gradients of the meta loss by the WPN's parameters.

    Args:
        model: An ``L2WClassifier`` with the plain cross-entropy.
        train: Pictures and labels that the pseudo step is taken on.
        meta: Pictures and labels that judge it.
        optimizer: The real optimizer of the network.
        pruned: Ask for the WPN's gradients alone, so that autograd leaves out what
            leads to the network's parameters.

    Returns:
        The gradients and the meta loss.
    """
    own = {id(p) for p in model.wpn.parameters()}
    # Leaves of their own, as those of a pseudo network.
    names = [n for n, p in model.named_parameters() if id(p) not in own]
    real = dict(model.named_parameters())
    leaves = {n: real[n].detach().clone().requires_grad_() for n in names}

    logits = _forward(model, leaves, train[0])
    losses = _losses(logits, train[1])
    weights = _weights(model.wpn, logits, losses)
    total = (weights * losses).mean(0).sum()
    gradients = torch.autograd.grad(
        total, list(leaves.values()), create_graph=True, allow_unused=True
    )
    by_leaf = _of_leaves(optimizer, real, leaves)
    theta_hat = pseudo_parameters(leaves, gradients, by_leaf)

    logits = _forward(model, theta_hat, meta[0])
    losses = _losses(logits, meta[1])
    taken = assign(logits.detach().softmax(-1).amax(-1), model.shares.tolist())
    loss = sum(losses[s, k].mean() for k, s in enumerate(taken) if s)
    wpn = list(model.wpn.parameters())
    if pruned:
        return list(torch.autograd.grad(loss, wpn)), loss.detach()
    every = torch.autograd.grad(loss, [*leaves.values(), *wpn], allow_unused=True)
    return list(every[len(leaves) :]), loss.detach()


class _of_leaves:
    """The optimizer's groups and state, for the leaves in place of the parameters."""

    def __init__(self, optimizer, real: dict, leaves: dict) -> None:
        leaf_of = {id(real[name]): leaf for name, leaf in leaves.items()}
        self.param_groups = [
            dict(group, params=[leaf_of[id(p)] for p in group['params']])
            for group in optimizer.param_groups
        ]
        self.state = {
            leaf: optimizer.state.get(real[name], {}) for name, leaf in leaves.items()
        }


def double_backward_batch(
    model: nn.Module,
    halves: list[Half],
    optimizer: torch.optim.SGD,
    wpn_optimizer: torch.optim.Optimizer,
    pruned: bool = False,
) -> None:
    """Train on a batch: both halves in turn, a meta step before each SGD step."""
    for train, meta in (halves, halves[::-1]):
        gradients, _ = meta_gradients(model, train, meta, optimizer, pruned)
        for parameter, gradient in zip(model.wpn.parameters(), gradients):
            parameter.grad = gradient
        wpn_optimizer.step()
        wpn_optimizer.zero_grad()
        logits = model(train[0])
        losses = _losses(logits, train[1])
        with torch.no_grad():
            weights = _weights(model.wpn, logits, losses)
        (weights * losses).mean(0).sum().backward()
        optimizer.step()
        optimizer.zero_grad()
