import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dynnet.models.exits import assign_by_shares, assign_exits, quotas


def slow_assign(scores, thresholds):
    return [
        next(
            (k for k, limit in enumerate(thresholds) if scores[k][i] >= limit),
            len(thresholds),
        )
        for i in range(len(scores[0]))
    ]


LEVELS = st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0])


@settings(deadline=None)
@given(
    rows=st.integers(1, 5).flatmap(
        lambda e: st.tuples(
            st.lists(st.tuples(*[LEVELS] * e), min_size=1, max_size=20),
            st.tuples(*[st.one_of(LEVELS, st.just(math.inf))] * (e - 1)),
        )
    )
)
def test_first_exit_that_is_reached(rows):
    samples, thresholds = rows
    scores = np.array(samples, np.float32).T
    expected = slow_assign(scores, thresholds)
    assert assign_exits(scores, thresholds).tolist() == expected
    ours = assign_exits(torch.from_numpy(scores), list(thresholds))
    assert ours.dtype == torch.int64 and ours.tolist() == expected


def test_compared_in_the_precision_of_the_scores():
    # 0.1 is not a float32; a score that prints as 0.1 reaches a threshold of 0.1.
    scores = np.array([[0.1], [0.0]], np.float32)
    assert assign_exits(scores, [0.1]).tolist() == [0]
    assert assign_exits(torch.from_numpy(scores), [0.1]).tolist() == [0]


def test_none_is_nobody():
    scores = np.ones((2, 3), np.float32)
    assert assign_exits(scores, [None]).tolist() == [1, 1, 1]


@pytest.mark.parametrize('like', [np.asarray, torch.tensor])
def test_bad_input(like):
    scores = like([[0.1, 0.2], [0.3, 0.4], [0.5, 0.6]])
    for wrong in ([0.5], [0.1, 0.2, 0.3]):
        message = rf'3 exits need 2 thresholds .*, got {len(wrong)}'
        with pytest.raises(ValueError, match=message):
            assign_exits(scores, wrong)
    with pytest.raises(ValueError, match='threshold of exit 2 is NaN'):
        assign_exits(scores, [0.5, math.nan])
    with pytest.raises(ValueError, match='1 NaN, the first at exit 1, sample 1'):
        assign_exits(like([[0.1, math.nan], [0.3, 0.4]]), [0.5])
    with pytest.raises(ValueError, match='must have shape'):
        assign_exits(like([0.1]), [])


def slow_assign_by_shares(scores, shares):
    """As the paper says it: one exit after the other, the most confident first."""
    num_exits, n = scores.shape
    left, exits = list(range(n)), [num_exits - 1] * n
    for k in range(num_exits - 1):
        left.sort()
        left.sort(key=lambda j, k=k: -scores[k, j])  # stable: of ties, the first
        quota = int(np.float32(n) * np.float32(shares[k]))
        for j in left[:quota]:
            exits[j] = k
        left = left[quota:]
    return exits


@settings(deadline=None)
@given(
    rows=st.integers(1, 4).flatmap(
        lambda e: st.tuples(
            st.lists(st.tuples(*[LEVELS] * e), min_size=1, max_size=24),
            st.tuples(*[st.integers(0, 5)] * e).filter(any),
        )
    )
)
def test_assign_by_shares_takes_exact_numbers_and_the_best(rows):
    table, parts = rows
    scores = np.float32(table).T
    shares = np.float32(parts) / sum(parts)
    expected = slow_assign_by_shares(scores, shares)
    assert assign_by_shares(scores, shares).tolist() == expected
    ours = assign_by_shares(torch.from_numpy(scores), torch.from_numpy(shares))
    assert ours.dtype == torch.int64 and ours.tolist() == expected
    counts = np.bincount(expected, minlength=len(parts))[:-1]
    assert counts.tolist() == quotas(shares, len(table))[:-1].tolist()


def test_assign_by_shares_refuses_bad_input():
    scores = np.zeros((2, 4), np.float32)
    with pytest.raises(ValueError, match='2 exits need 2 shares, got 3'):
        assign_by_shares(scores, [0.5, 0.25, 0.25])
    with pytest.raises(ValueError, match='sum to 1'):
        assign_by_shares(scores, [0.5, 0.6])
    scores[1, 2] = np.nan
    with pytest.raises(ValueError, match='NaN, the first at exit 2, sample 2'):
        assign_by_shares(scores, [0.5, 0.5])
