"""AdaFocus: one iteration of every training stage, and PPO updates on a buffer."""

import numpy as np
import torch
from torch import Tensor, nn

from dynnet.models.policies import PPOTerms, discounted_returns, ppo_loss
from dynnet.utils.adafocus_conversion import (
    classifier_keys,
    focuser_keys,
    policy_keys,
    split_model_state,
)

from . import Case, Result, adapter
from .adafocus import build, build_policy, frames, model_config, thin, tsm_config

# Published gradients come from another order of the same sums.
GRADIENT = 1e-3
# Through 52 train-mode BNs of an untrained ResNet-50 float32 loses two digits: ours in
# float64 is 1.7e-2 from ours in float32 and 2.0e-2 from the published one.
FIRST_CONV = 3e-2


def our_name(name: str) -> str:
    """The name that the converter gives a published parameter."""
    ((entry, state),) = split_model_state({name: torch.zeros(())}).items()
    rename = dict(
        focuser=focuser_keys,
        fc=classifier_keys,
        policy=lambda s: {f'policy.{key}': v for key, v in policy_keys(s).items()},
    )
    (renamed,) = rename[entry](state)
    return renamed


def stored(case: Case, prefix: str) -> list[str]:
    """Published names of the arrays ``prefix + name``."""
    names = case.meta['outputs']
    return [name.removeprefix(prefix) for name in names if name.startswith(prefix)]


def shape_of(case: Case, name: str) -> tuple[int, ...]:
    return tuple(case.meta['outputs'][name]['shape'])


def gradients(case: Case, net: nn.Module, prefix: str = '') -> dict:
    """Compare every stored gradient, to a part of the largest."""
    arrays = {}
    parameters = dict(net.named_parameters())
    for name in stored(case, 'grad/'):
        grad = parameters[our_name(prefix + name)].grad
        ours = thin(grad, shape_of(case, f'grad/{name}'))
        part = FIRST_CONV if name.endswith('net.conv1.weight') else GRADIENT
        # A bias before a BN has a gradient of nothing but rounding.
        arrays[f'grad/{name}'] = (ours, 0, part * np.abs(ours).max() + 1e-6)
    return arrays


def changed(case: Case, kind: str, net: nn.Module, before: dict, prefix: str = ''):
    """Compare what a step of SGD left (``after/``) or changed (``delta/``)."""
    arrays = {}
    for name in stored(case, kind):
        key = our_name(prefix + name)
        value = net.state_dict()[key]
        if kind == 'delta/':
            value = value - before[key]
        atol = 1e-6
        if name.endswith('net.conv1.weight'):  # what its gradient's noise makes of it
            grad = dict(net.named_parameters())[key].grad
            atol = (
                case.meta['kwargs']['backbone_lr']
                * FIRST_CONV
                * float(grad.abs().max())
            )
        arrays[kind + name] = (thin(value, shape_of(case, kind + name)), 1e-4, atol)
    return arrays


def after_adam(case: Case, kind: str, net: nn.Module, before: dict, prefix: str = ''):
    """As :func:`changed`, but only where the gradient is not next to nothing.

    Adam's first step is the learning rate times the gradient's sign: where that is
    noise, so is the step.
    """
    arrays = changed(case, kind, net, before, prefix)
    parameters = dict(net.named_parameters())
    for name, (ours, rtol, atol) in arrays.items():
        parameter = parameters.get(our_name(prefix + name.removeprefix(kind)))
        if parameter is None:  # BN statistics
            continue
        grad = np.abs(thin(parameter.grad, ours.shape))
        firm = grad > 0.02 * grad.max()
        arrays[name] = (np.where(firm, ours, case.feed(name)), rtol, atol)
    return arrays


def copy_state(net: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in net.state_dict().items()}


def check_moved(case: Case, net: nn.Module, before: dict, parts: tuple[str, ...]):
    """Exactly the stage's parts have gradients and moved, buffers included."""
    for name, value in net.named_parameters():
        in_stage = name.startswith(parts)
        assert value.requires_grad == in_stage, name
        assert (value.grad is not None) == in_stage, name
    for name, value in net.state_dict().items():
        assert name.startswith(parts) or value.equal(before[name]), name


def sgd(case: Case, net: nn.Module) -> None:
    """A step with the stage's learning rates: what its scripts mean to give."""
    kwargs = case.meta['kwargs']
    groups = [
        dict(params=list(net.backbone.parameters()), lr=kwargs['backbone_lr']),
        dict(params=list(net.cls_head.parameters()), lr=kwargs['fc_lr']),
    ]
    torch.optim.SGD(
        groups,
        lr=0.0,
        momentum=kwargs['momentum'],
        weight_decay=kwargs['weight_decay'],
    ).step()


@adapter('one iteration of the official main_dist.train(), train_stage=1, B=2')
def stage1(case: Case) -> Result:
    config = model_config(case.meta['kwargs'], train_cfg=dict(stage='random'))
    net = build(case, config).train()
    before = copy_state(net)
    labels = torch.from_numpy(case.feed('labels'))
    corners = torch.from_numpy(case.feed('topleft')).long()
    loss = net.loss_random(frames(case), labels, corners)['loss_cls']
    loss.backward()
    sgd(case, net)
    check_moved(case, net, before, ('backbone.', 'cls_head.'))
    arrays = dict(loss=(loss[None], 1e-5, 0))
    arrays |= gradients(case, net) | changed(case, 'after/', net, before)
    return Result(arrays)


@adapter('one iteration of the official main_dist.train(), train_stage=3, B=2')
def stage3(case: Case) -> Result:
    config = model_config(case.meta['kwargs'], train_cfg=dict(stage='finetune'))
    net = build(case, config).train()
    before = copy_state(net)
    x = frames(case)
    labels = torch.from_numpy(case.feed('labels'))
    with torch.no_grad():
        corners = net.run(x).corners
    loss = net.loss_finetune(x, labels)['loss_cls']
    loss.backward()
    sgd(case, net)
    check_moved(case, net, before, ('cls_head.',))
    arrays = dict(loss=(loss[None], 1e-5, 0), topleft=(corners, 0, 0))
    arrays |= gradients(case, net) | changed(case, 'after/', net, before)
    return Result(arrays)


@adapter('one iteration of the official main_dist.train(), train_stage=2, B=2')
def stage2(case: Case) -> Result:
    kwargs = case.meta['kwargs']
    config = model_config(
        kwargs,
        train_cfg=dict(stage='policy', reward=kwargs['reward'], gamma=kwargs['gamma']),
    )
    net = build(case, config).train()
    arrays = policy_step(case, net, frames(case), case.feed('random_topleft'))
    arrays |= after_adam(
        case, 'delta/', net, policy_step.before, 'focuser.policy.policy.'
    )
    rollout, labels = policy_step.rollout, policy_step.labels
    index = labels.view(1, -1, 1).expand(len(rollout.logits), -1, 1)
    for name, logits in (
        ('confidence', rollout.logits),
        ('baseline_confidence', rollout.baseline),
    ):
        arrays[name] = (logits.softmax(-1).gather(-1, index)[..., 0], 0, 1e-5)
    arrays |= dict(
        logits=(rollout.logits, 0, 1e-4),
        baseline_logits=(rollout.baseline, 0, 1e-4),
        topleft=(rollout.corners, 0, 0),
    )
    return Result(arrays)


def policy_step(case: Case, net: nn.Module, inputs, random_corners) -> dict:
    """Stage 2 with the stored actions and corners; one step of Adam."""
    before = policy_step.before = copy_state(net)
    labels = policy_step.labels = torch.from_numpy(case.feed('labels'))
    actions = torch.from_numpy(case.feed('action'))
    corners = torch.from_numpy(random_corners).long()
    rollout = policy_step.rollout = net.rollout(inputs, labels, actions, corners)
    losses = net.policy_losses(rollout)
    loss = sum(value for name, value in losses.items() if 'loss' in name)
    loss.backward()
    torch.optim.Adam(
        net.policy.parameters(), lr=case.meta['kwargs']['policy_lr']
    ).step()
    check_moved(case, net, before, ('policy.',))
    prefix = 'policy.' if random_corners.shape[0] == 1 else 'focuser.policy.policy.'
    return gradients(case, net, prefix) | dict(
        loss=(loss[None], 1e-4, 0),
        logprob=(rollout.log_probs, 0, 1e-4),
        reward=(rollout.rewards, 0, 1e-5),
    )


def streams(case: Case, net: nn.Module):
    """Both frame groups, by role."""
    return net.prepare(
        dict(imgs_glance=frames(case, 'glance'), imgs_focus=frames(case, 'focus'))
    )


# The released scripts give most of f_L's layers, and f_C, no learning rate; what their
# steps leave is therefore not compared, but which parts learn is: those they name.


@adapter('one iteration of the official stage1.py train(), B=2')
def tsm_stage1(case: Case) -> Result:
    config = tsm_config(case.meta['kwargs'], train_cfg=dict(stage='random'))
    net = build(case, config).train()
    before = copy_state(net)
    labels = torch.from_numpy(case.feed('labels'))
    corners = torch.from_numpy(case.feed('topleft')).long()
    loss = net.loss_random(streams(case, net), labels, corners)['loss_cls']
    loss.backward()
    check_moved(case, net, before, ('backbone.', 'cls_head.'))
    mean = net.backbone.conv1.bn.running_mean
    arrays = dict(loss=(loss[None], 1e-5, 0), bn1_running_mean=(mean, 1e-4, 1e-6))
    return Result(arrays | gradients(case, net))


@adapter('one iteration of the official stage3.py train(), B=2')
def tsm_stage3(case: Case) -> Result:
    # The published loop records f_L's gradients, in eval mode.
    config = tsm_config(case.meta['kwargs'], train_cfg=dict(stage='finetune_local'))
    net = build(case, config).train()
    before = copy_state(net)
    labels = torch.from_numpy(case.feed('labels'))
    inputs = streams(case, net)
    with torch.no_grad():
        output = net.run_policy(net.states(net.glance(inputs)))
        corners = net.to_corners(net.policy.places(net.policy.greedy(output))[0])
    loss = net.loss_finetune(inputs, labels)['loss_cls']
    loss.backward()
    check_moved(case, net, before, ('backbone.', 'cls_head.'))
    mean = net.backbone.conv1.bn.running_mean
    arrays = dict(
        loss=(loss[None], 1e-5, 0),
        topleft=(corners, 0, 0),
        bn1_running_mean=(mean, 1e-4, 1e-6),
    )
    return Result(arrays | gradients(case, net))


@adapter('one iteration of the official stage2.py train(), B=3')
def tsm_stage2(case: Case) -> Result:
    config = tsm_config(
        case.meta['kwargs'],
        train_cfg=dict(stage='policy', gamma=case.meta['kwargs']['gamma']),
    )
    net = build(case, config).train()
    corners = case.feed('random_topleft')[None]
    arrays = policy_step(case, net, streams(case, net), corners)
    arrays |= after_adam(case, 'after/', net, policy_step.before, 'policy.')
    rollout = policy_step.rollout
    arrays |= dict(
        logits=(rollout.logits[0], 0, 1e-4),
        baseline_logits=(rollout.baseline[0], 0, 1e-4),
        topleft=(rollout.corners[0], 0, 0),
    )
    return Result(arrays)


@adapter('one PPO update() on a small buffer')
def ppo_update(case: Case) -> Result:
    kwargs = case.meta['kwargs']
    net = build_policy(case).train()
    optimizer = torch.optim.Adam(net.parameters(), kwargs['lr'], tuple(kwargs['betas']))
    states, rewards = (torch.from_numpy(case.input(r)) for r in ('states', 'rewards'))
    actions, old = (torch.from_numpy(case.feed(n)) for n in ('action', 'old_logprob'))
    arrays, losses = {}, []
    for epoch in range(kwargs['K_epochs']):
        output = net(states)
        log_probs, entropy = net.log_probs(output, actions), net.entropy(output)
        terms: PPOTerms = ppo_loss(
            rewards,
            log_probs,
            old,
            output.values,
            entropy,
            gamma=kwargs['gamma'],
            clip=kwargs['eps_clip'],
            value_weight=kwargs['value_coef'],
            entropy_weight=kwargs['entropy_coef'],
        )
        optimizer.zero_grad()
        terms.loss.backward()
        losses.append(terms.loss.detach())
        if epoch == 0:
            assert (terms.ratio - 1).abs().max() > 0.2  # the clip is at work
            arrays = dict(
                logprob=(log_probs, 0, 1e-5),
                value=(output.values, 0, 1e-5),
                entropy=(entropy, 0, 1e-5),
                returns=(discounted_returns(rewards, kwargs['gamma']), 0, 1e-6),
                returns_normalised=(terms.returns, 0, 1e-5),
                ratio=(terms.ratio, 1e-5, 1e-5),
                advantage=(terms.advantages, 0, 1e-5),
                surrogate=(terms.surrogate, 0, 1e-5),
            )
            arrays |= gradients(case, Holder(net), 'policy.')
            first = {n: p.grad.clone() for n, p in net.named_parameters()}
        optimizer.step()
    for name, parameter in net.named_parameters():
        parameter.grad = first[name]
    arrays |= after_adam(case, 'after/', Holder(net), {}, 'policy.')
    return Result(arrays | dict(loss=(torch.stack(losses), 1e-4, 0)))


class Holder(nn.Module):
    """Gives a bare policy the name that it has inside a recognizer."""

    def __init__(self, policy: nn.Module) -> None:
        super().__init__()
        self.policy = policy
