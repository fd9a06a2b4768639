"""A learned policy finds the cue: the whole chain of stages, from made clips."""

import runpy
from pathlib import Path

import pytest

from dynnet.utils.optional import is_available

TOOL = Path(__file__).parents[2] / 'tools/benchmarks/adafocus_cue.py'


@pytest.mark.slow
@pytest.mark.timeout(5400)
@pytest.mark.skipif(not is_available('mmaction'), reason='mmaction2 is not installed')
def test_the_learned_policy_finds_the_cue(tmp_path, monkeypatch):
    monkeypatch.setenv('MOVING_CUE_ROOT', 'replaced by the tool')
    main = runpy.run_path(str(TOOL))['main']
    report = main(['--work-dir', str(tmp_path)])
    rows = report['rows']
    # Chance is one in four; random patches see the cue now and then.
    assert rows['learned']['top1'] > rows['random']['top1'] > 30
    assert rows['learned']['distance'] <= 0.5 * rows['random']['distance']
    assert rows['learned']['top1'] >= rows['centre']['top1'] + 15
    assert report['holds']
