"""Folds pooled by counting."""

import json
import runpy
from pathlib import Path

import pytest

from dynnet.evaluation.functional import wilson_interval
from dynnet.utils.errors import DataError

TOOL = Path(__file__).parents[2] / 'tools/analysis_tools/pool_folds.py'


@pytest.fixture(scope='module')
def main():
    return runpy.run_path(str(TOOL))['main']


def write(path: Path, top1: float, clips: int) -> str:
    path.write_text(json.dumps({'video/top1': top1, 'video/num_clips': clips}))
    return str(path)


def test_counts_are_added(main, tmp_path, capsys):
    # Folds of different sizes: the mean of the percentages would be another number.
    files = [write(tmp_path / 'a.json', 70.0, 40), write(tmp_path / 'b.json', 50.0, 10)]
    out = tmp_path / 'pooled.json'
    rows = main(['--run', 'both', *files, '--run', 'one', files[1], '--out', str(out)])
    assert [(r['folds'], r['hits'], r['total']) for r in rows] == [
        ([28, 5], 33, 50),
        ([5], 5, 10),
    ]
    assert rows[0]['interval'] == list(wilson_interval(33, 50))
    assert json.loads(out.read_text()) == rows
    assert '66.0' in capsys.readouterr().out


def test_what_cannot_be_counted_is_named(main, tmp_path):
    good = write(tmp_path / 'a.json', 70.0, 40)
    with pytest.raises(DataError, match='x: no metrics file after'):
        main(['--run', 'x'])
    with pytest.raises(DataError, match='c.json: .*No such file'):
        main(['--run', 'x', good, str(tmp_path / 'c.json')])
    with pytest.raises(DataError, match='a.json: no accuracy and video/num_clips'):
        main(['--run', 'x', good, '--accuracy', 'accuracy'])
    odd = write(tmp_path / 'b.json', 71.0, 40)
    with pytest.raises(DataError, match='b.json: 71.0 % of 40 clips'):
        main(['--run', 'x', odd])
