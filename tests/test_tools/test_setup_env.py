"""What tools/setup_env.py decides, without installing anything."""

import re
import shutil
import stat
import threading
from pathlib import Path

import pytest

from tools import setup_env

ROOT = Path(__file__).resolve().parents[2]


def test_parts_are_checked(capsys):
    args = setup_env.parse_args(['--with', 'tests,classification', '--ops'])
    assert args.parts == ['classification', 'tests'] and args.ops
    with pytest.raises(SystemExit):
        setup_env.parse_args(['--with', 'clasification'])
    assert '--with clasification: choose from classification' in capsys.readouterr().err


def test_each_part_has_a_requirement_file_and_setup_py_knows_it():
    extras = re.search(r'^EXTRAS = (.+)$', (ROOT / 'setup.py').read_text(), re.M)
    assert extras.group(1) == repr(setup_env.PARTS)
    for part in setup_env.PARTS:
        assert (ROOT / 'requirements' / f'{part}.txt').is_file()


def test_every_requirement_is_pinned_and_pins_agree():
    names = ('runtime', 'build', *setup_env.PARTS)
    for name in names:
        for line in (ROOT / 'requirements' / f'{name}.txt').read_text().splitlines():
            if line and not line.startswith('#'):
                package, _, version = line.partition('==')
                text = (ROOT / 'requirements/constraints.txt').read_text()
                pinned = re.findall(rf'^{package}==(\S+)', text, re.M)
                assert pinned, package
                assert not version or pinned == [version]


def test_pin():
    assert setup_env.pin('torch') == 'torch==2.10.0'
    assert setup_env.pin('onedl-mmcv') == 'onedl-mmcv==2.3.6'
    with pytest.raises(KeyError, match='nonesuch'):
        setup_env.pin('nonesuch')


def test_wheels_are_kept_apart_by_all_that_they_depend_on(monkeypatch, tmp_path):
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    base = ('cpython-311-x86_64-linux-gnu', '2.10.0+cpu', '2.3.6', 'cpu')
    folder = setup_env.wheel_folder(*base)
    assert folder.parent == tmp_path / 'dynnet/wheels'
    assert folder.name == ('cpython-311-x86_64-linux-gnu-torch2.10.0+cpu-mmcv2.3.6-cpu')
    others = ('cpython-312-x86_64-linux-gnu', '2.10.0+cu128', '2.3.7', 'sm90')
    for i, other in enumerate(others):
        changed = (*base[:i], other, *base[i + 1 :])
        assert setup_env.wheel_folder(*changed) != folder
    monkeypatch.delenv('XDG_CACHE_HOME')
    monkeypatch.setenv('HOME', '/home/someone')
    assert str(setup_env.wheel_folder(*base)).startswith('/home/someone/.cache/')


@pytest.fixture
def clone(tmp_path):
    """The files that an environment is made from."""
    shutil.copytree(ROOT / 'requirements', tmp_path / 'requirements')
    for name in ('setup.py', 'dynnet/version.py', 'tools/setup_env.py'):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


@pytest.mark.parametrize(
    'name', ['requirements/video.txt', 'requirements/constraints.txt', 'setup.py']
)
def test_fingerprint_follows_the_files(clone, name):
    before = setup_env.fingerprint(clone, '3.11.7', '')
    assert setup_env.fingerprint(clone, '3.11.7', '') == before
    with open(clone / name, 'a') as file:
        file.write('# changed\n')
    assert setup_env.fingerprint(clone, '3.11.7', '') != before


def test_fingerprint_follows_the_interpreter_and_the_index(clone):
    keys = {
        setup_env.fingerprint(clone, python, index)
        for python in ('3.11.7', '3.12.1')
        for index in ('', 'https://index.example/cpu')
    }
    assert len(keys) == 4


@pytest.mark.parametrize(
    ('parts', 'ops', 'key', 'expected'),
    [
        (['tests'], False, 'k', True),
        (['classification', 'tests'], False, 'k', True),
        (['classification', 'tests'], True, 'k', True),
        (['video'], False, 'k', False),
        (['tests'], False, 'other', False),
    ],
)
def test_nothing_to_do_when_the_stamp_covers_it(parts, ops, key, expected):
    stamp = {'key': 'k', 'parts': ['classification', 'tests'], 'ops': 'for-cpu'}
    assert setup_env.covers(stamp, key, parts, ops) is expected


def test_ops_are_missed_and_no_stamp_covers_nothing():
    stamp = {'key': 'k', 'parts': ['tests'], 'ops': None}
    assert setup_env.covers(stamp, 'k', ['tests'], False)
    assert not setup_env.covers(stamp, 'k', ['tests'], True)
    assert not setup_env.covers({}, 'k', [], False)


def test_stamp_survives_rubbish(tmp_path):
    environment = setup_env.Environment(tmp_path)
    assert environment.read_stamp() == {}
    environment.stamp_file.write_text('{"key": ')
    assert environment.read_stamp() == {}
    environment.write_stamp({'key': 'k'})
    assert environment.read_stamp() == {'key': 'k'}


def test_lock_lets_one_in_at_a_time(tmp_path, capsys):
    order = []
    entered = threading.Event()

    def other():
        entered.set()
        with setup_env.locked(tmp_path / 'lock'):
            order.append('second')

    thread = threading.Thread(target=other)
    with setup_env.locked(tmp_path / 'lock'):
        thread.start()
        entered.wait()
        thread.join(0.3)
        order.append('first')
    thread.join()
    assert order == ['first', 'second']
    assert 'waiting for another set-up' in capsys.readouterr().out


def fake_python(path, body):
    """An interpreter that, whatever it is asked to build, runs ``body``."""
    path.write_text(f'#!/bin/sh\nwhile [ "$1" != -w ]; do shift; done\n{body}\n')
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def test_a_failed_build_leaves_nothing_and_shows_why(tmp_path):
    folder = tmp_path / 'cache' / 'key'
    folder.parent.mkdir()
    body = 'touch "$2/half.whl"; echo "error: no compiler"; exit 1'
    with pytest.raises(SystemExit) as stop:
        setup_env.build_ops(fake_python(tmp_path / 'python', body), folder, 'cpu')
    assert 'error: no compiler' in str(stop.value)
    assert list(folder.parent.iterdir()) == []


def test_a_build_lands_whole_and_shows_progress(tmp_path, capsys):
    folder = tmp_path / 'cache' / 'key'
    folder.mkdir(parents=True)  # left empty by something else
    body = 'echo "  [20/20] c++ -o x"; echo "$MMCV_WITH_OPS $CFLAGS" > "$2/a.whl"'
    setup_env.build_ops(fake_python(tmp_path / 'python', body), folder, 'cpu')
    assert (folder / 'a.whl').read_text().split()[:2] == ['1', '-g0']
    assert [p.name for p in folder.parent.iterdir()] == ['key']
    assert 'compiled 20/20' in capsys.readouterr().out


@pytest.mark.parametrize(
    ('body', 'said'),
    [
        ('echo "a log line"; echo /cache/kernels.so', '/cache/kernels.so'),
        ('echo "Traceback" >&2; echo "no C++ compiler" >&2; exit 1', 'no C++ compiler'),
        ('exit 3', 'not compiled (3)'),
    ],
)
def test_kernels_that_do_not_compile_do_not_stop_the_set_up(
    tmp_path, capsys, body, said
):
    python = tmp_path / 'python'
    python.write_text(f'#!/bin/sh\n{body}\n')
    python.chmod(python.stat().st_mode | stat.S_IXUSR)
    setup_env.build_kernels(python)
    assert capsys.readouterr().out.splitlines()[-1] == f'[setup] {said}'


def test_fingerprint_follows_the_kernels(clone):
    before = setup_env.fingerprint(clone, '3.11.7', '')
    folder = clone / 'dynnet/ops/sparse_conv/csrc'
    folder.mkdir(parents=True)
    (folder / 'kernel.cpp').write_text('// new')
    assert setup_env.fingerprint(clone, '3.11.7', '') != before
