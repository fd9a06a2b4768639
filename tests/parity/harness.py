"""Run a case's adapter and compare everything that the case stores."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .adapters import Case, Result
from .loader import load_case

# Numbers in the JSON that must be compared wherever a case has them.
REQUIRED_FACTS = ('flops_per_exit', 'params_per_exit', 'total_params')


def check_case(path: Path, adapters: Mapping[str, Callable[[Case], Result]]) -> None:
    """Raise an AssertionError unless our part gives what the case stores.

    Args:
        path: The case's JSON.
        adapters: Component to adapter.
    """
    meta, expected = load_case(path)
    component = meta['component']
    assert component in adapters, f'no adapter for the component {component!r}'
    case = Case(meta, expected)
    result = adapters[component](case)

    unknown = result.arrays.keys() - expected.keys()
    assert not unknown, f'the case has no arrays {sorted(unknown)}'
    for name, (ours, rtol, atol) in result.arrays.items():
        _compare(name, ours, expected[name], rtol, atol, name in result.unset)
    for name, ours in result.facts.items():
        assert _plain(ours) == _plain(meta[name]), f'{name}: {ours} != {meta[name]}'

    stored = {*expected, *(name for name in REQUIRED_FACTS if name in meta)}
    silent = [name for name, reason in result.ignored.items() if not reason]
    assert not silent, f'ignored without a reason: {silent}'
    done = {*result.arrays, *result.facts, *result.ignored, *case.fed}
    assert stored <= done, f'nothing compares {sorted(stored - done)}'


def _compare(
    name: str,
    ours: Any,
    expected: np.ndarray,
    rtol: float | np.ndarray,
    atol: float,
    unset: bool,
):
    ours = ours.detach().cpu().numpy() if hasattr(ours, 'detach') else np.asarray(ours)
    assert ours.shape == expected.shape, f'{name}: {ours.shape} != {expected.shape}'
    if expected.dtype.kind in 'iub':
        np.testing.assert_array_equal(ours, expected, err_msg=name)
    else:
        # A tolerance may differ from element to element.
        close = np.isclose(ours, expected, rtol, atol, equal_nan=unset)
        worst = np.nanmax(np.abs(ours - expected), where=~close, initial=0)
        assert close.all(), (
            f'{name}: {(~close).sum()} of {close.size} differ, by up to {worst:g}'
        )


def _plain(value: Any) -> Any:
    """Numbers and lists, so that 3 equals 3.0 and a tuple a list."""
    if isinstance(value, (list, tuple, np.ndarray)):
        return [_plain(item) for item in value]
    return value.item() if isinstance(value, np.generic) else value
