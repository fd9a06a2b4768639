"""Every stored case of the published implementations, and the harness itself.

``DYNNET_PARITY_DIR`` names another folder of cases.
"""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from .adapters import Result, load_adapters
from .harness import check_case
from .loader import find_cases

DEFAULT = Path(__file__).parents[1] / 'data' / 'parity'
FOLDER = Path(os.environ.get('DYNNET_PARITY_DIR') or DEFAULT)
CASES = list(find_cases(FOLDER))


def test_there_are_cases():
    assert CASES, f'no parity cases below {FOLDER}'


@pytest.mark.parametrize(
    'path', CASES, ids=lambda path: f'{path.parent.name}/{path.stem}'
)
def test_case(path):
    check_case(path, load_adapters())


@pytest.fixture
def case(tmp_path):
    path = tmp_path / 'case.json'
    path.write_text(json.dumps({'component': 'Toy', 'total_params': 3}))
    np.savez(
        tmp_path / 'case.npz', output=np.float32([1, 2]), exit_index=np.array([0, 1])
    )
    return path


GOOD = dict(output=([1, 2 + 1e-7], 1e-6, 0), exit_index=([0, 1], 0, 0))


def check_toy(path, arrays=GOOD, facts=dict(total_params=3), ignored=None, feed=()):  # noqa: B006
    def run(toy):
        for name in feed:
            toy.feed(name)
        return Result(arrays=arrays, facts=facts, ignored=ignored or {})

    check_case(path, {'Toy': run})


def test_harness_accepts_equal_numbers(case):
    check_toy(case)


def test_harness_refuses_a_component_without_adapter(case):
    with pytest.raises(AssertionError, match="no adapter for the component 'Toy'"):
        check_case(case, {})


def test_harness_refuses_an_array_that_nothing_compares(case):
    arrays = dict(output=GOOD['output'])
    with pytest.raises(AssertionError, match=r"nothing compares \['exit_index'\]"):
        check_toy(case, arrays)
    check_toy(case, arrays, feed=['exit_index'])
    check_toy(case, arrays, ignored=dict(exit_index='the spec says why'))
    with pytest.raises(AssertionError, match='without a reason'):
        check_toy(case, arrays, ignored=dict(exit_index=''))


@pytest.mark.parametrize(
    'changed',
    [
        dict(output=([1, 2.1], 1e-6, 0)),
        dict(output=([1, 2, 3], 1e-6, 0)),
        dict(output=([1, float('nan')], 1e-6, 0)),
        dict(exit_index=([0, 2], 9, 9)),
        dict(typo=([0], 0, 0)),
    ],
)
def test_harness_refuses_other_numbers(case, changed):
    with pytest.raises(AssertionError):
        check_toy(case, {**GOOD, **changed})


@pytest.mark.parametrize('facts', [{}, dict(total_params=4)])
def test_harness_compares_the_counts_exactly(case, facts):
    with pytest.raises(AssertionError, match='total_params'):
        check_toy(case, facts=facts)
