import json
import math
from pathlib import Path

import numpy as np
import pytest

from dynnet.models.exits import BudgetSolver, ExitThresholds, OperatingPoint
from dynnet.utils import atomic


@pytest.fixture
def solved():
    scores = np.random.default_rng(0).random((3, 15)).astype(np.float32)
    solvers = BudgetSolver(p=[1, 10, 30]), BudgetSolver('budget', budgets=[15])
    costs = [10.0, 20.0, 40.0]
    return ExitThresholds(
        criterion=dict(type='MaxSoftmax'),
        exit_costs=costs,
        points=[p for s in solvers for p in s.solve(scores, costs, scores > 0.3)],
        calibration=dict(num_samples=15, split='hold-out'),
    )


def test_round_trip(solved, tmp_path):
    path = tmp_path / 'folder' / 'thresholds.json'
    solved.save(path)
    assert ExitThresholds.load(path) == solved
    assert math.inf in solved.points[0].thresholds  # p=1 has an exit without quota
    text = path.read_text()
    assert 'null' in text and 'Infinity' not in text
    data = json.loads(text)
    assert data['num_exits'] == 3 and data['cost_unit'] == 'MACs'
    assert data['points'][1]['p'] == 10 and data['points'][3]['budget'] == 15


def test_a_failing_write_keeps_the_old_file(solved, tmp_path, monkeypatch):
    path = tmp_path / 'thresholds.json'
    solved.save(path)
    before = path.read_text()

    def full_disk(descriptor):
        raise OSError('No space left on device')

    monkeypatch.setattr(atomic.os, 'fsync', full_disk)
    solved.points = solved.points[:1]
    with pytest.raises(OSError, match='No space left'):
        solved.save(path)
    assert path.read_text() == before
    assert [p.name for p in Path(tmp_path).iterdir()] == ['thresholds.json']


def test_choose(solved):
    solved.points = [
        OperatingPoint([0.5, 0.5], expected_cost=cost, expected_accuracy=accuracy)
        for cost, accuracy in [(12, 60), (20, 70), (20, 71), (30, 80)]
    ]
    assert solved.choose(40).expected_cost == 30
    assert solved.choose(29.9).expected_accuracy == 71
    assert solved.choose(12).expected_cost == 12
    with pytest.raises(ValueError, match='below the minimum 10 MACs'):
        solved.choose(9)
    with pytest.raises(ValueError, match='above the maximum 40 MACs'):
        solved.choose(41)
    with pytest.raises(ValueError, match='cheapest stored one needs 12'):
        solved.choose(11)


def test_the_named_limits_can_be_used():
    costs = [8360713.333333333, 2e7]
    solved = ExitThresholds(
        dict(type='Margin'), costs, [OperatingPoint([0.0], costs[0])]
    )
    with pytest.raises(ValueError, match=r'minimum 8360713\.33333333 MACs'):
        solved.choose(1)


def test_check_model(solved):
    solved.check_model(dict(type='dynnet.MaxSoftmax'), 3)
    with pytest.raises(ValueError, match='are for 3 exits, the model has 4'):
        solved.check_model(dict(type='MaxSoftmax'), 4)
    with pytest.raises(
        ValueError, match='solved for the criterion .*MaxSoftmax.*Margin'
    ):
        solved.check_model(dict(type='Margin'), 3)


def change(data, *keys, value):
    for key in keys[:-1]:
        data = data[key]
    data[keys[-1]] = value


@pytest.mark.parametrize(
    'keys, value, message',
    [
        (['format'], 'other', "key 'format' must be"),
        (['version'], 99, "key 'version' is 99"),
        (['criterion'], 'MaxSoftmax', "key 'criterion' must be a dict"),
        (['criterion'], {}, "key 'criterion' has no 'type'"),
        (['num_exits'], 4, r"key 'exit_costs': .*one cost per exit \(4\), got 3"),
        (['num_exits'], None, "key 'num_exits' must be a int"),
        (['exit_costs', 1], None, r"key 'exit_costs'\[1\] must be a number"),
        (['exit_costs', 1], 99, "key 'exit_costs': .*never falling"),
        (['cost_unit'], 3, "key 'cost_unit' must be a str"),
        (['points'], [], "key 'points' is empty"),
        (['points', 0], 3, r"key 'points\[0\]' must be a dict"),
        (['points', 1, 'thresholds'], [0.5], r"key 'points\[1\]': 3 exits need 2"),
        (['points', 1, 'thresholds', 0], 'x', r"'points\[1\]': key 'thresholds'\[0\]"),
        (['points', 1, 'expected_cost'], None, r"'points\[1\]': key 'expected_cost'"),
        (
            ['points', 1, 'exit_fractions'],
            [1],
            r"'points\[1\]': 'exit_fractions' has 1",
        ),
        (['points', 1, 'typo'], 1, r"'points\[1\]': .*typo"),
    ],
)
def test_a_wrong_file_names_the_key(solved, tmp_path, keys, value, message):
    path = tmp_path / 'thresholds.json'
    data = solved.to_dict()
    change(data, *keys, value=value)
    path.write_text(json.dumps(data))
    with pytest.raises(ValueError, match=message) as error:
        ExitThresholds.load(path)
    assert str(error.value).startswith(str(path))


def test_not_json(tmp_path):
    path = tmp_path / 'thresholds.json'
    path.write_text('{"format": "dynnet')
    with pytest.raises(ValueError, match='thresholds.json: not a JSON file'):
        ExitThresholds.load(path)
    path.write_bytes(b'\x80\x02PK')
    with pytest.raises(ValueError, match='thresholds.json: not a JSON file'):
        ExitThresholds.load(path)
    path.write_text('[1, 2]')
    with pytest.raises(ValueError, match='thresholds.json: not exit thresholds'):
        ExitThresholds.load(path)
    with pytest.raises(FileNotFoundError, match='missing.json'):
        ExitThresholds.load(tmp_path / 'missing.json')
