"""Rules go from start to end as they say."""

import math

import pytest

from dynnet.engine.schedules import RULES, scheduled_value


@pytest.mark.parametrize('rule', ['linear', 'cosine', 'exp', 'step'])
def test_ends(rule):
    assert scheduled_value(rule, 3, 3, 7, (5.0, 0.1)) == pytest.approx(5.0)
    assert scheduled_value(rule, 0, 3, 7, (5.0, 0.1)) == pytest.approx(5.0)
    assert scheduled_value(rule, 7, 3, 7, (5.0, 0.1)) == pytest.approx(0.1)
    assert scheduled_value(rule, 99, 3, 7, (5.0, 0.1)) == pytest.approx(0.1)


def test_formulas():
    assert scheduled_value('linear', 1, 0, 4, (0, 8)) == 2
    assert scheduled_value('cosine', 1, 0, 4, (1, 0)) == pytest.approx(
        math.cos(math.pi / 8) ** 2
    )
    # LASNet's temperature (spec: tau = 5 * (0.1 / 5) ** (it / total))
    assert scheduled_value('exp', 30, 0, 100, (5, 0.1)) == pytest.approx(5 * 0.02**0.3)
    values = [
        scheduled_value('step', t, 0, 4, (0, 1), milestones=(0.25, 0.5))
        for t in range(4)
    ]
    assert values == [0, 0.5, 1, 1]
    assert scheduled_value('constant', 4, 0, 4, (3, 9)) == 3


def test_jump_where_the_schedule_has_no_length():
    assert scheduled_value('linear', 1.9, 2, 2, (0, 1)) == 0
    assert scheduled_value('linear', 2, 2, 2, (0, 1)) == 1


def test_refusals():
    with pytest.raises(ValueError, match="'sine'.*constant, linear"):
        scheduled_value('sine', 0, 0, 1, (0, 1))
    with pytest.raises(ValueError, match=r'ends \(1\) before it begins \(2\)'):
        scheduled_value('linear', 0, 2, 1, (0, 1))
    with pytest.raises(ValueError, match='one sign'):
        scheduled_value('exp', 0, 0, 1, (0, 1))
    assert set(RULES) == {'constant', 'linear', 'cosine', 'exp', 'step'}
