"""PPO against loops written out, gates against counting."""

import math

import numpy as np
import pytest
import torch

from dynnet.models.policies import (
    PatchPolicy,
    discounted_returns,
    gate_reward,
    gate_threshold,
    normalise_returns,
    ppo_loss,
)
from dynnet.models.policies.gating import gate_entropy, gate_log_probs
from dynnet.utils.errors import ConfigError

T, N = 5, 4


@pytest.fixture
def arrays():
    generator = torch.Generator().manual_seed(0)
    names = ('rewards', 'log_probs', 'old_log_probs', 'values', 'entropy')
    return {n: torch.randn(T, N, generator=generator) for n in names}


def test_loss_is_the_formula_in_loops(arrays):
    terms = ppo_loss(**arrays, gamma=0.7, clip=0.2)
    a = {k: v.double().numpy() for k, v in arrays.items()}
    returns = np.zeros((T, N))
    for n in range(N):
        for t in range(T):
            returns[t, n] = sum(
                0.7 ** (s - t) * a['rewards'][s, n] for s in range(t, T)
            )
    given = discounted_returns(arrays['rewards'], 0.7)
    np.testing.assert_allclose(given, returns, rtol=1e-5)
    returns = (returns - returns.mean()) / (returns.std(ddof=1) + 1e-5)
    policy = value = 0.0
    for t in range(T):
        for n in range(N):
            ratio = math.exp(a['log_probs'][t, n] - a['old_log_probs'][t, n])
            advantage = returns[t, n] - a['values'][t, n]
            clipped = min(max(ratio, 0.8), 1.2)
            policy -= min(ratio * advantage, clipped * advantage)
            value += (a['values'][t, n] - returns[t, n]) ** 2
    assert float(terms.loss_policy) == pytest.approx(policy / (T * N), rel=1e-5)
    assert float(terms.loss_value) == pytest.approx(0.5 * value / (T * N), rel=1e-5)
    expected = -0.01 * a['entropy'].mean()
    assert float(terms.loss_entropy) == pytest.approx(expected, rel=1e-5)
    assert terms.loss == terms.loss_policy + terms.loss_value + terms.loss_entropy


def test_no_gradient_leaves_through_the_advantage(arrays):
    for value in arrays.values():
        value.requires_grad_()
    terms = ppo_loss(**arrays)
    terms.loss_policy.backward(retain_graph=True)
    assert arrays['values'].grad is None and arrays['old_log_probs'].grad is None
    assert arrays['log_probs'].grad.abs().sum() > 0


def test_a_single_entry_is_not_nan():
    assert normalise_returns(torch.tensor([[3.0]])).tolist() == [[0.0]]


@pytest.mark.parametrize('kind', ['discrete', 'continuous'])
def test_log_probs_and_entropy_are_those_of_the_distributions(kind):
    torch.manual_seed(0)
    policy = PatchPolicy(
        4, map_size=3, mid_channels=2, hidden_channels=8, kind=kind, num_actions=9
    )
    output = policy(torch.randn(T, N, 4, 3, 3))
    actions = policy.sample(output)
    if kind == 'discrete':
        truth = torch.distributions.Categorical(output.actor)
        log_probs, entropy = truth.log_prob(actions), truth.entropy()
        assert actions.shape == (T, N) and policy.places(actions).shape == (T, N, 2)
    else:
        truth = torch.distributions.Normal(output.actor, policy.action_std)
        log_probs, entropy = truth.log_prob(actions).sum(-1), truth.entropy().sum(-1)
        assert 0 <= actions.min() and actions.max() <= 1
    torch.testing.assert_close(policy.log_probs(output, actions), log_probs)
    torch.testing.assert_close(policy.entropy(output), entropy)


def test_samples_follow_the_probabilities():
    policy = PatchPolicy(4, 3, 2, 8, num_actions=4)
    actor = torch.tensor([0.5, 0.3, 0.2, 0.0]).expand(100, 100, 4)
    output = policy(torch.zeros(1, 1, 4, 3, 3))
    output.actor = actor
    drawn = policy.sample(output, torch.Generator().manual_seed(0))
    shares = torch.bincount(drawn.flatten(), minlength=4) / 1e4
    torch.testing.assert_close(shares, actor[0, 0], rtol=0, atol=0.02)


def test_maps_of_another_size_are_named():
    with pytest.raises(ConfigError, match='policy.map_size=3, but .* 4x4'):
        PatchPolicy(4, 3, 2, 8)(torch.zeros(1, 1, 4, 4, 4))
    with pytest.raises(ConfigError, match="kind='both'"):
        PatchPolicy(kind='both')


def test_gates():
    probs = torch.tensor([[0.2, 0.9]])
    gates = torch.tensor([[1.0, 0.0]])
    truth = torch.distributions.Bernoulli(probs)
    torch.testing.assert_close(gate_log_probs(probs, gates), truth.log_prob(gates))
    torch.testing.assert_close(gate_entropy(probs), truth.entropy())
    focused, blank = torch.zeros(1, 2, 2), torch.zeros(1, 2, 2)
    focused[0, :, 0] = math.log(3)  # 0.75 against 0.5
    reward = gate_reward(focused, blank, torch.tensor([0, 0]), gates, 0.1)
    torch.testing.assert_close(reward, torch.tensor([[0.15, 0.0]]))


@pytest.mark.parametrize('budget', [1.6, 2.0, 3.3, 5.0, 5.6])
def test_gate_threshold_takes_what_the_budget_allows(budget):
    probs = torch.rand(50, 8, generator=torch.Generator().manual_seed(0))
    probs[:10] = probs[10, 0]  # ties

    def cost(threshold: float) -> float:
        return 8 * 0.2 + 0.5 * float((probs >= threshold).sum(1).double().mean())

    threshold = gate_threshold(probs, budget, 0.2, 0.5)
    assert cost(threshold) <= budget + 1e-9
    lower = probs[probs < threshold]
    if len(lower):
        assert cost(float(lower.max())) > budget
    with pytest.raises(ConfigError, match='the glances'):
        gate_threshold(probs, 1.5, 0.2, 0.5)
