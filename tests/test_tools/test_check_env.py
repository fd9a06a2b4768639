"""tools/check_env.py says what works, what fails, and what to do."""

import subprocess
import sys
from pathlib import Path

import pytest

from dynnet.utils.optional import is_available
from tools import check_env

ROOT = Path(__file__).resolve().parents[2]


def failing(error):
    def probe():
        raise error

    return probe


@pytest.mark.parametrize(
    ('error', 'reason'),
    [
        (AssertionError('MMCV==9 is incompatible\nmore'), 'MMCV==9 is incompatible'),
        (AssertionError(), 'AssertionError'),
        (ImportError("No module named 'mmcv._ext'"), "No module named 'mmcv._ext'"),
    ],
)
def test_a_failure_has_a_reason_and_a_remedy(error, reason):
    part = check_env.Part('mmdet', 'pytest', failing(error), 'do this')
    works, text = check_env.check(part)
    first, second = text.splitlines()
    assert not works
    assert first.split() == ['mmdet', pytest.__version__, 'FAILS', *reason.split()]
    assert second.strip() == 'to do: do this'


def test_what_is_not_installed_is_missing():
    part = check_env.Part('x', 'no-such-distribution', check_env.imports('nope'), 'y')
    works, text = check_env.check(part)
    assert not works
    assert text.splitlines()[0].split() == ['x', 'not', 'installed', 'FAILS', 'missing']


def test_the_active_sparse_backend_is_named(monkeypatch):
    monkeypatch.setenv('DYNNET_SPARSE_CPP', '0')
    remark = check_env.probe_sparse()
    assert remark.endswith('dense') and 'cpp: off (DYNNET_SPARSE_CPP=0)' in remark
    assert remark.split(';')[0] in ('auto is mkldnn', 'auto is torch')


def test_strict_decides_the_exit_status(monkeypatch, capsys):
    part = check_env.Part('x', 'pytest', failing(ImportError('gone')), 'y')
    monkeypatch.setattr(check_env, 'PARTS', (part,))
    monkeypatch.setattr(sys, 'argv', ['check_env.py'])
    check_env.main()
    assert 'gone' in capsys.readouterr().out
    monkeypatch.setattr(sys, 'argv', ['check_env.py', '--strict'])
    with pytest.raises(SystemExit) as stop:
        check_env.main()
    assert stop.value.code == 1


@pytest.mark.skipif(
    not all(is_available(name) for name in ('mmrotate', 'mmaction', 'onnxruntime')),
    reason='not everything is installed; make test installs it',
)
def test_everything_works_where_everything_is_installed():
    command = [sys.executable, 'tools/check_env.py', '--strict']
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert 'compiled ops work' in done.stdout
    assert len(done.stdout.splitlines()) == 1 + len(check_env.PARTS)
