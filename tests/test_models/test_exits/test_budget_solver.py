"""The solver against the published rules written as loops over samples."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dynnet.models.exits import (
    BudgetSolver,
    build_solver,
    evaluate_thresholds,
    exit_shares,
    quotas,
    thresholds_for_budget,
    thresholds_for_shares,
)


def slow_thresholds(scores, shares):
    """Walk the samples by falling score, as the published rules say."""
    num_exits, n = scores.shape
    taken = [False] * n
    thresholds = []
    for k in range(num_exits - 1):
        threshold = float('inf')
        quota = int(np.floor(np.float32(n) * np.float32(shares[k])))
        count = 0
        for i in sorted(range(n), key=lambda i: -scores[k, i]):
            if quota > 0 and not taken[i]:
                count += 1
                if count == quota:
                    threshold = scores[k, i]
                    break
        thresholds.append(threshold)
        for i in range(n):
            if scores[k, i] >= threshold:
                taken[i] = True
    return thresholds


def slow_evaluate(scores, thresholds, costs, correct):
    n = scores.shape[1]
    cost, right = 0.0, 0
    counts = [0] * len(scores)
    for i in range(n):
        for k in range(len(scores)):
            if k == len(scores) - 1 or scores[k, i] >= thresholds[k]:
                counts[k] += 1
                cost += costs[k]
                right += int(correct[k, i])
                break
    return cost / n, 100 * right / n, counts


@st.composite
def tables(draw, ties=True):
    """Scores (E, N), costs (E,), correct (E, N)."""
    num_exits = draw(st.integers(1, 5))
    n = draw(st.integers(1, 40))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    scores = rng.permuted(
        np.tile(np.arange(1, n + 1) / n, (num_exits, 1)), axis=1
    ).astype(np.float32)
    if ties:
        levels = draw(st.integers(1, 12))
        scores = (np.ceil(scores * levels) / levels).astype(np.float32)
    costs = np.cumsum(rng.random(num_exits) + 0.05)
    return scores, costs, rng.random((num_exits, n)) < 0.5


def random_shares(seed, num_exits):
    shares = np.random.default_rng(seed).random(num_exits)
    shares *= np.random.default_rng(seed + 1).random(num_exits) < 0.7  # some are zero
    shares = shares if shares.sum() > 0 else np.ones(num_exits)
    return (shares / shares.sum()).astype(np.float32)


@settings(deadline=None, max_examples=200)
@given(table=tables(), p=st.integers(1, 39), seed=st.integers(0, 1000))
def test_equals_the_loops(table, p, seed):
    scores, costs, correct = table
    for shares in (exit_shares(p, len(scores)), random_shares(seed, len(scores))):
        thresholds = thresholds_for_shares(scores, shares)
        assert thresholds.tolist() == slow_thresholds(scores, shares)
        cost, accuracy, fractions = evaluate_thresholds(
            scores, thresholds, costs, correct
        )
        slow = slow_evaluate(scores, thresholds, costs, correct)
        assert cost == pytest.approx(slow[0])
        assert accuracy == pytest.approx(slow[1])
        assert (fractions * scores.shape[1]).round().astype(int).tolist() == slow[2]


@settings(deadline=None, max_examples=200)
@given(table=tables(), where=st.floats(0, 1))
def test_budget_is_respected(table, where):
    scores, costs, _ = table
    budget = costs[0] + where * (costs[-1] - costs[0])
    budget = float(np.clip(budget, costs[0], costs[-1]))
    thresholds = thresholds_for_budget(scores, costs, budget)
    assert evaluate_thresholds(scores, thresholds, costs)[0] <= budget


@settings(deadline=None, max_examples=100)
@given(table=tables(ties=False), where=st.floats(0, 1))
def test_budget_is_used_up_where_nothing_ties(table, where):
    scores, costs, _ = table
    budget = float(np.clip(costs[0] + where * np.ptp(costs), costs[0], costs[-1]))
    thresholds = thresholds_for_budget(scores, costs, budget)
    cost = evaluate_thresholds(scores, thresholds, costs)[0]
    one_sample = np.ptp(costs) / scores.shape[1]
    assert budget - one_sample * (1 + 1e-9) <= cost <= budget


def best_by_enumeration(scores, costs, budget):
    """Largest mean cost within the budget over all thresholds of two exits."""
    levels = [*np.unique(scores[0]), np.inf]
    reached = [evaluate_thresholds(scores, [t], costs)[0] for t in levels]
    return max(cost for cost in reached if cost <= budget)


@settings(deadline=None, max_examples=100)
@given(seed=st.integers(0, 10**6), levels=st.integers(1, 8), where=st.floats(0, 1))
def test_budget_is_as_close_as_ties_allow(seed, levels, where):
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, levels, (2, 30)).astype(np.float32)
    costs = np.array([1.0, 5.0])
    budget = 1 + 4 * where
    thresholds = thresholds_for_budget(scores, costs, budget)
    cost = evaluate_thresholds(scores, thresholds, costs)[0]
    assert cost == best_by_enumeration(scores, costs, budget)


def test_saturated_confidences_leave_the_budget_reachable():
    """Shares jump over a large group of ties; lowering another exit closes the gap."""
    rng = np.random.default_rng(0)
    scores = np.minimum(rng.random((4, 2000)) * 1.5, 1).astype(np.float32)
    costs = np.array([1.0, 2.0, 3.0, 4.0])
    # Whatever is done, a third leaves somewhere or nobody does: above this lies a gap.
    for budget in np.linspace(1, 3.65, 31):
        thresholds = thresholds_for_budget(scores, costs, budget)
        cost = evaluate_thresholds(scores, thresholds, costs)[0]
        assert budget - 0.01 <= cost <= budget


def test_more_budget_never_costs_less():
    rng = np.random.default_rng(1)
    scores = rng.random((5, 1000)).astype(np.float32)
    costs = np.array([1.0, 2.0, 4.0, 6.0, 9.0])
    points = BudgetSolver('budget', budgets=np.linspace(1, 9, 40)).solve(scores, costs)
    spent = [point.expected_cost for point in points]
    assert spent == sorted(spent)
    assert spent[0] == 1 and spent[-1] == 9


def test_cost_grows_along_the_p_grid():
    rng = np.random.default_rng(2)
    scores = rng.random((5, 4000)).astype(np.float32)
    points = BudgetSolver().solve(scores, [1, 2, 3, 4, 5])
    spent = [point.expected_cost for point in points]
    assert len(points) == 39 and spent == sorted(spent)
    assert [points[0].name, points[-1].name] == ['p1', 'p39']


def test_shares_by_hand():
    np.testing.assert_allclose(exit_shares(10, 3), np.array([4, 2, 1]) / 7, rtol=1e-6)
    np.testing.assert_allclose(exit_shares(20, 4), [0.25] * 4, rtol=1e-7)
    assert exit_shares(7, 5).dtype == np.float32
    assert quotas([0.5, 0.26, 0.24], 10).tolist() == [5, 2, 2]
    # A float64 product of these is 2.9999999999999996.
    assert quotas([0.3, 0.7], 10).tolist() == [3, 7]


def test_thresholds_by_hand():
    scores = np.array(
        [[0.9, 0.8, 0.8, 0.1], [0.2, 0.9, 0.3, 0.4], [1, 1, 1, 1]], np.float32
    )
    # The second best of exit 1 is tied with the third: both leave, one is left.
    thresholds = thresholds_for_shares(scores, [0.5, 0.25, 0.25])
    assert thresholds.tolist() == [np.float32(0.8), np.float32(0.4)]
    # Too few are left for the second exit: nobody leaves there.
    assert thresholds_for_shares(scores, [0.5, 0.5, 0]).tolist() == [
        np.float32(0.8),
        np.inf,
    ]
    # A quota below one sample: nobody leaves.
    assert thresholds_for_shares(scores, [0.2, 0.0, 0.8]).tolist() == [np.inf, np.inf]


def test_points_carry_what_the_table_gives():
    scores = np.array([[0.9, 0.5, 0.4, 0.1], [0, 0, 0, 0]], np.float32)
    correct = np.array([[1, 1, 0, 0], [0, 0, 1, 0]], bool)
    (point,) = BudgetSolver('budget', budgets=0.75, relative=True).solve(
        scores, [10, 20], correct
    )
    assert point.thresholds == [0.5] and point.budget == 15
    assert point.expected_cost == 15 and point.expected_accuracy == 75
    assert point.exit_fractions == [0.5, 0.5] and point.name == 'budget15'
    (point,) = BudgetSolver('shares', shares=[[0.25, 0.75]]).solve(scores, [10, 20])
    assert point.exit_fractions == [0.25, 0.75] and point.expected_accuracy is None


def test_patience_is_swept():
    # Runs of equal labels: sample 0 agrees at once, 1 late, 2 never.
    scores = np.array([[1, 1, 1], [2, 1, 1], [3, 2, 1], [4, 3, 1]], np.float32)
    costs = [1.0, 2.0, 3.0, 4.0]
    points = BudgetSolver().solve(scores, costs, solvable=False)
    assert [p.thresholds for p in points] == [[t] * 3 for t in (1, 2, 3, 4)]
    assert [p.name for p in points] == [
        'patience1',
        'patience2',
        'patience3',
        'patience4',
    ]
    assert [p.expected_cost for p in points] == pytest.approx([1, 3, 11 / 3, 4])
    (point,) = BudgetSolver('budget', budgets=[3.5]).solve(
        scores, costs, solvable=False
    )
    assert point.thresholds == [2, 2, 2] and point.expected_cost == pytest.approx(3)
    with pytest.raises(ValueError, match='cannot be solved'):
        BudgetSolver('shares', shares=[[0.25] * 4]).solve(scores, costs, solvable=False)


@pytest.mark.parametrize('solvable', [True, False])
@pytest.mark.parametrize(
    'budget, message',
    [(9.99, 'minimum 10,'), (30.1, 'maximum 30,'), (np.nan, 'minimum')],
)
def test_budget_out_of_reach(budget, message, solvable):
    scores = np.ones((3, 4), np.float32)
    with pytest.raises(ValueError, match=message):
        BudgetSolver('budget', budgets=[budget]).solve(
            scores, [10, 20, 30], solvable=solvable
        )


def test_bad_input():
    scores = np.random.default_rng(0).random((3, 4)).astype(np.float32)
    broken = scores.copy()
    broken[1, 2] = np.nan
    with pytest.raises(ValueError, match='1 NaN, the first at exit 2, sample 2'):
        BudgetSolver().solve(broken, [1, 2, 3])
    with pytest.raises(ValueError, match='no calibration samples'):
        BudgetSolver().solve(np.ones((3, 0)), [1, 2, 3])
    with pytest.raises(ValueError, match=r'shape \(exits, samples\), got \(4,\)'):
        BudgetSolver().solve(scores[0], [1, 2, 3])
    with pytest.raises(ValueError, match=r'one cost per exit \(3\), got 2'):
        BudgetSolver().solve(scores, [1, 2])
    with pytest.raises(ValueError, match='never falling'):
        BudgetSolver().solve(scores, [1, 3, 2])
    with pytest.raises(ValueError, match='3 exits need 3 shares, got 2'):
        thresholds_for_shares(scores, [0.5, 0.5])
    with pytest.raises(ValueError, match='sum to 1'):
        thresholds_for_shares(scores, [0.5, 0.5, 0.5])
    with pytest.raises(ValueError, match='p must be positive'):
        exit_shares(0, 3)
    with pytest.raises(ValueError, match="strategy must be one of .*'magic'"):
        BudgetSolver('magic')
    with pytest.raises(ValueError, match="'budget' got no values"):
        BudgetSolver('budget')


def test_built_from_a_config():
    solver = build_solver(
        dict(type='dynnet.BudgetSolver', strategy='budget', budgets=2)
    )
    assert solver.budgets == [2]
    with pytest.raises(ValueError, match="no budget solver 'Magic'; .*BudgetSolver"):
        build_solver(dict(type='Magic'))
