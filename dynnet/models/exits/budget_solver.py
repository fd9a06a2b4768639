"""Solve exit thresholds on a calibration table, by sorting and counting.

The rules are those of MSDNet's and RANet's budgeted-batch evaluation: a quota of the
samples for each exit, filled by falling score, ties included.
"""

from collections.abc import Sequence

import numpy as np

from dynnet.registry import BUDGET_SOLVERS
from dynnet.utils.errors import ConfigError

from .assign import assign_exits, check_scores
from .shares import check_shares, exit_shares, mth_best, quotas
from .thresholds import OperatingPoint, check_budget, check_costs

# The published grid: p / 20 from 0.05 to 1.95.
P_GRID = tuple(range(1, 40))
# At ratios beyond exp(+-this) one exit has the whole float32 share.
_LOG_RATIO_LIMIT = 40.0


def thresholds_for_shares(
    scores: np.ndarray, shares: Sequence[float] | np.ndarray
) -> np.ndarray:
    """Thresholds by which about the given share of the samples leaves at each exit.

    Exit by exit, the score of the m-th best sample that is still there is the
    threshold, m being the exit's quota; then everybody who reaches it leaves, so ties
    may exceed the quota. A quota of zero, or one that is larger than the number of
    samples left, makes the threshold +inf: nobody leaves there.

    Args:
        scores: Shape (E, N), larger means leave.
        shares: Shape (E,), not negative, sum 1.

    Returns:
        Shape (E - 1,), float64: exact values of scores, or +inf.

    Raises:
        ValueError: Bad scores or shares, or no samples.
    """
    check_scores(scores)
    shares = check_shares(shares, len(scores))
    if scores.shape[1] == 0:
        raise ConfigError('no calibration samples to solve thresholds on')
    thresholds = np.full(len(scores) - 1, np.inf)
    remains = np.ones(scores.shape[1], dtype=bool)
    for k, quota in enumerate(quotas(shares, scores.shape[1])[:-1]):
        candidates = scores[k, remains]
        if 0 < quota <= candidates.size:
            thresholds[k] = mth_best(candidates, int(quota))
            remains &= scores[k] < thresholds[k]
    return thresholds


def thresholds_for_budget(
    scores: np.ndarray, costs: Sequence[float] | np.ndarray, budget: float
) -> np.ndarray:
    r"""Thresholds whose mean cost on the table comes closest to a budget from below.

    Searches the shares :math:`q_k \propto r^k` by bisection on the realised mean cost,
    then lowers one threshold of the nearest point above the budget, sample by sample
    (tied ones together), until it is within.

    Args:
        scores: Shape (E, N), larger means leave.
        costs: Shape (E,), cumulative cost per exit, in any unit.
        budget: Mean cost per sample allowed, in that unit.

    Returns:
        Shape (E - 1,), float64.

    Raises:
        ValueError: The budget is below the first or above the last exit's cost.
    """
    costs = check_costs(costs, len(scores))
    check_budget(budget, costs)

    def solve(log_ratio: float) -> np.ndarray:
        return thresholds_for_shares(scores, _geometric_shares(log_ratio, len(costs)))

    over = np.full(len(costs) - 1, np.inf)
    if _mean_cost(scores, over, costs) <= budget:
        return over
    cheap, dear = -_LOG_RATIO_LIMIT, _LOG_RATIO_LIMIT
    best = solve(cheap)
    # Invariant: best is within the budget, over is not.
    while dear - cheap > 1e-7:  # the shares' own precision
        middle = (cheap + dear) / 2
        thresholds = solve(middle)
        if _mean_cost(scores, thresholds, costs) <= budget:
            cheap, best = middle, thresholds
        else:
            dear, over = middle, thresholds
    # Between the two lies a few samples' difference, or a large group of ties.
    for k in range(len(over)):
        candidate = _lower_one(scores, over, costs, k, budget)
        cost = _mean_cost(scores, candidate, costs)
        if _mean_cost(scores, best, costs) < cost <= budget:
            best = candidate
    return best


def evaluate_thresholds(
    scores: np.ndarray,
    thresholds: Sequence[float] | np.ndarray,
    costs: Sequence[float] | np.ndarray,
    correct: np.ndarray | None = None,
) -> tuple[float, float | None, np.ndarray]:
    """Apply thresholds to a table.

    Args:
        scores: Shape (E, N).
        thresholds: Shape (E - 1,).
        costs: Shape (E,), cumulative.
        correct: Shape (E, N), whether each exit is right, or None.

    Returns:
        Mean cost; accuracy in percent (None without ``correct``); fraction of the
        samples that leaves at each exit, shape (E,).
    """
    exits = assign_exits(scores, thresholds)
    fractions = np.bincount(exits, minlength=len(scores)) / max(exits.size, 1)
    cost = float(np.dot(fractions, np.asarray(costs, dtype=np.float64)))
    accuracy = None
    if correct is not None:
        accuracy = 100 * float(correct[exits, np.arange(exits.size)].mean())
    return cost, accuracy, fractions


@BUDGET_SOLVERS.register_module()
class BudgetSolver:
    """Find operating points (thresholds) on a calibration table.

    A criterion whose thresholds are integer settings (``solvable`` False) is swept:
    ``p_grid`` then gives one point per integer, ``budget`` the dearest of them within
    the budget.

    Args:
        strategy: What to solve for.

            - ``'p_grid'``: the published grid of exit shares, one point per p.
            - ``'budget'``: an average cost per sample, one point per budget. The unit
              is that of the costs: MACs, milliseconds, ...
            - ``'shares'``: given exit shares, one point per list of E shares.
        p: The grid of ``'p_grid'``.
        budgets: The budgets of ``'budget'``.
        relative: Whether budgets are fractions of the last exit's cost.
        shares: The lists of ``'shares'``.
    """

    STRATEGIES = ('p_grid', 'budget', 'shares')

    def __init__(
        self,
        strategy: str = 'p_grid',
        p: Sequence[float] = P_GRID,
        budgets: Sequence[float] | float = (),
        relative: bool = False,
        shares: Sequence[Sequence[float]] = (),
    ) -> None:
        if strategy not in self.STRATEGIES:
            raise ConfigError(
                f'strategy must be one of {self.STRATEGIES}: {strategy!r}'
            )
        self.strategy = strategy
        self.p = list(p)
        self.budgets = [budgets] if np.isscalar(budgets) else list(budgets)
        self.relative = relative
        self.shares = [list(s) for s in shares]
        if not {'p_grid': self.p, 'budget': self.budgets, 'shares': self.shares}[
            strategy
        ]:
            raise ConfigError(f'strategy {strategy!r} got no values to solve for')

    def solve(
        self,
        scores: np.ndarray,
        costs: Sequence[float] | np.ndarray,
        correct: np.ndarray | None = None,
        solvable: bool = True,
    ) -> list[OperatingPoint]:
        """Solve all points of the strategy.

        Args:
            scores: Shape (E, N), of the calibration samples.
            costs: Shape (E,), cumulative cost per exit.
            correct: Shape (E, N), for the expected accuracy, or None.
            solvable: The criterion's ``solvable``.

        Returns:
            One point per p, budget or list of shares.

        Raises:
            ValueError: An unreachable budget (the limit is named), bad shares or
                scores, or shares asked of a criterion that is swept.
        """
        scores = np.asarray(scores)
        check_scores(scores)
        if scores.shape[1] == 0:
            raise ConfigError('no calibration samples to solve thresholds on')
        costs = check_costs(costs, len(scores))

        def point(thresholds: np.ndarray, **name: object) -> OperatingPoint:
            cost, accuracy, fractions = evaluate_thresholds(
                scores, thresholds, costs, correct
            )
            return OperatingPoint(
                thresholds=np.asarray(thresholds).tolist(),
                expected_cost=cost,
                expected_accuracy=accuracy,
                exit_fractions=fractions.tolist(),
                **name,
            )

        if self.strategy == 'budget':
            solve = thresholds_for_budget if solvable else _sweep_for_budget
            scale = costs[-1] if self.relative else 1.0
            budgets = [float(b * scale) for b in self.budgets]
            return [point(solve(scores, costs, b), budget=b) for b in budgets]
        if not solvable:
            if self.strategy == 'shares':
                raise ConfigError(
                    'exit shares cannot be solved for a criterion whose threshold is '
                    "an integer setting; use strategy 'p_grid' (a sweep) or 'budget'"
                )
            return [
                point(_constant(t, len(scores)), name=f'patience{t}')
                for t in range(1, len(scores) + 1)
            ]
        if self.strategy == 'shares':
            return [
                point(thresholds_for_shares(scores, s), shares=s) for s in self.shares
            ]
        return [
            point(thresholds_for_shares(scores, exit_shares(p, len(scores))), p=p)
            for p in self.p
        ]


def _geometric_shares(log_ratio: float, num_exits: int) -> np.ndarray:
    exponents = log_ratio * np.arange(num_exits)
    shares = np.exp(exponents - exponents.max())
    return (shares / shares.sum()).astype(np.float32)


def _mean_cost(scores: np.ndarray, thresholds: np.ndarray, costs: np.ndarray) -> float:
    return evaluate_thresholds(scores, thresholds, costs)[0]


def _constant(threshold: float, num_exits: int) -> np.ndarray:
    return np.full(num_exits - 1, float(threshold))


def _sweep_for_budget(
    scores: np.ndarray, costs: np.ndarray, budget: float
) -> np.ndarray:
    """The integer threshold with the largest mean cost within the budget."""
    check_budget(budget, costs)
    sweep = [_constant(t, len(scores)) for t in range(1, len(scores) + 1)]
    fitting = [t for t in sweep if _mean_cost(scores, t, costs) <= budget]
    return max(fitting, key=lambda t: _mean_cost(scores, t, costs))


def _lower_one(
    scores: np.ndarray,
    thresholds: np.ndarray,
    costs: np.ndarray,
    k: int,
    budget: float,
) -> np.ndarray:
    """Lower the threshold of exit ``k`` just enough to get within the budget.

    Returns:
        The thresholds; unchanged where that exit alone cannot save enough.
    """
    exits = assign_exits(scores, thresholds)
    staying = np.flatnonzero(exits > k)
    staying = staying[np.argsort(-scores[k, staying])]
    values = scores[k, staying]
    savings = np.cumsum(costs[exits[staying]] - costs[k]) / scores.shape[1]
    # Tied samples leave together.
    group_ends = np.append(values[1:] < values[:-1], True)[: values.size]
    cost = _mean_cost(scores, thresholds, costs)
    lowered = thresholds.copy()
    # The second one only where rounding fooled the first.
    for i in np.flatnonzero(group_ends & (cost - savings <= budget))[:2]:
        lowered[k] = values[i]
        if _mean_cost(scores, lowered, costs) <= budget:
            return lowered
    return thresholds
