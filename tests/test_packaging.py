"""The wheel, what an import costs, and what a missing toolbox says."""

import os
import re
import shutil
import subprocess
import sys
import textwrap
import zipfile
from pathlib import Path

import pytest

from dynnet.utils import optional

ROOT = Path(__file__).resolve().parent.parent
CONFIGS = sorted(
    path.relative_to(ROOT / 'configs').as_posix()
    for path in (ROOT / 'configs').rglob('*.py')
)
# Folders whose configs have bases of a toolbox beyond mmpretrain.
TOOLBOX_BASES = re.compile(r"'(mmdet|mmrotate|mmaction)::")
BOUND = {
    path.parent.name
    for path in (ROOT / 'configs').rglob('*.py')
    if TOOLBOX_BASES.search(path.read_text())
}
FREE_CONFIGS = [name for name in CONFIGS if Path(name).parent.name not in BOUND]

BLOCKER = """
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split('.')[0] in {blocked!r}:
            raise ModuleNotFoundError(f'No module named {{name!r}}', name=name)

sys.meta_path.insert(0, Blocker())
"""


def run_python(code: str, cwd: Path, *, path: Path = ROOT, blocked: tuple = ()) -> str:
    """Run code in a new interpreter; return what it printed."""
    code = BLOCKER.format(blocked=blocked) + textwrap.dedent(code)
    env = {**os.environ, 'PYTHONPATH': str(path), 'OMP_NUM_THREADS': '1'}
    done = subprocess.run(
        [sys.executable, '-W', 'ignore', '-c', code],
        cwd=cwd,
        env=env,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope='module')
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy of the sources."""
    source = tmp_path_factory.mktemp('source')
    names = ['dynnet', 'configs', 'requirements', 'setup.py', 'MANIFEST.in']
    names += ['README.md', 'LICENSE', 'CHANGELOG.md', 'model-index.yml']
    ignore = shutil.ignore_patterns('__pycache__')
    for name in names:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, source / name, symlinks=True, ignore=ignore)
        else:
            shutil.copy(ROOT / name, source)
    target = tmp_path_factory.mktemp('wheel')
    command = [sys.executable, '-m', 'pip', 'wheel', '-q', '--no-deps']
    command += ['--no-build-isolation', '--no-index', '-w', str(target), str(source)]
    subprocess.run(command, check=True)
    return next(target.glob('dynnet-*.whl'))


@pytest.fixture(scope='module')
def site(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with nothing but the unpacked wheel."""
    folder = tmp_path_factory.mktemp('site')
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def test_the_wheel_carries_the_kernels_sources(site):
    csrc = 'dynnet/ops/sparse_conv/csrc'
    names = {path.name for path in (site / csrc).iterdir()}
    assert 'sparse_conv.cpp' in names
    assert names == {path.name for path in (ROOT / csrc).iterdir()}


def test_every_folder_with_modules_is_a_package():
    folders = {path.parent for path in (ROOT / 'dynnet').rglob('*.py')}
    assert folders
    assert [str(f) for f in sorted(folders) if not (f / '__init__.py').exists()] == []


def test_wheel_holds_every_module_and_config(site):
    def files(root, pattern):
        return {p.relative_to(root).as_posix() for p in root.rglob(pattern)}

    modules = {f for f in files(ROOT / 'dynnet', '*.py') if not f.startswith('.mim/')}
    packed = {f for f in files(site / 'dynnet', '*.py') if not f.startswith('.mim/')}
    assert packed == modules
    configs = files(ROOT / 'configs', '*.py') | files(ROOT / 'configs', '*.yml')
    mim = site / 'dynnet/.mim'
    assert files(mim / 'configs', '*.py') | files(mim / 'configs', '*.yml') == configs
    assert not [p for p in mim.rglob('*') if p.is_symlink()]
    devices = 'dynnet/latency/devices'
    assert files(site / devices, '*.json') == files(ROOT / devices, '*.json') != set()
    index = (ROOT / 'model-index.yml').read_text()
    assert (mim / 'model-index.yml').read_text() == index


def test_wheel_declares_the_requirement_files(site):
    metadata = next(site.glob('dynnet-*.dist-info/METADATA')).read_text()
    extras = set(re.findall(r'^Provides-Extra: (.+)$', metadata, re.M))
    assert extras == {'classification', 'detection', 'rotated', 'video', 'tests'}
    for name in ('runtime', *extras):
        for line in (ROOT / 'requirements' / f'{name}.txt').read_text().splitlines():
            if not line.startswith('#'):
                extra = '' if name == 'runtime' else f'; extra == "{name}"'
                assert f'Requires-Dist: {line}{extra}\n' in metadata


USE_CONFIGS = """
    import pathlib
    import dynnet
    from mmengine.config import Config

    for name in {configs!r}:
        config = pathlib.Path('config.py')
        config.write_text(f"_base_ = 'dynnet::{{name}}'")
        assert len(Config.fromfile(config)), name
    print(pathlib.Path(dynnet.__file__).parent.parent)
"""
USE_TYPE = """
    from mmengine.registry import MODELS
    print(MODELS.build(dict(type='dynnet.RANet')).num_exits > 1)
"""


def test_wheel_serves_configs_and_types_from_an_empty_folder(site, tmp_path):
    code = USE_CONFIGS.format(configs=FREE_CONFIGS) + USE_TYPE
    assert FREE_CONFIGS
    blocked = ('mmdet', 'mmrotate', 'mmaction')
    out = run_python(code, tmp_path, path=site, blocked=blocked)
    assert out.splitlines()[0] == str(site)
    assert out.splitlines()[-1] == 'True'


def test_source_tree_serves_configs_from_an_empty_folder(tmp_path):
    code = USE_CONFIGS.format(configs=CONFIGS)
    assert run_python(code, tmp_path).splitlines() == [str(ROOT)]


def test_every_metafile_in_the_index_exists():
    import yaml

    for name in yaml.safe_load((ROOT / 'model-index.yml').read_text())['Import']:
        for model in yaml.safe_load((ROOT / name).read_text())['Models']:
            assert (ROOT / model['Config']).is_file(), f'{name}: {model["Config"]}'


def test_import_loads_no_toolbox_and_adds_one_entry(tmp_path):
    code = """
        import importlib
        from mmengine.config.utils import MODULE2PACKAGE
        before = dict(MODULE2PACKAGE)
        import dynnet
        importlib.reload(dynnet)
        print(MODULE2PACKAGE == {**before, 'dynnet': 'dynnet'})
        heavy = ('mmcv', 'mmpretrain', 'mmdet', 'mmrotate', 'mmaction', 'torchvision')
        print([name for name in heavy if name in sys.modules])
    """
    assert run_python(code, tmp_path).splitlines() == ['True', '[]']


def test_without_toolboxes_networks_build_and_a_missing_one_is_one_line(tmp_path):
    code = """
        import dynnet
        from mmengine.registry import MODELS
        print(MODELS.build(dict(type='dynnet.RANet')).num_exits > 1)
        try:
            MODELS.build(dict(type='dynnet.MultiExitClassifier'))
        except ImportError as error:
            print(error)
    """
    blocked = ('mmpretrain', 'mmdet', 'mmrotate', 'mmaction')
    assert run_python(code, tmp_path, blocked=blocked).splitlines() == [
        'True',
        'dynnet.MultiExitClassifier needs mmpretrain, which is not installed: it comes '
        'with the extra dynnet[classification] (python tools/setup_env.py --venv .venv '
        '--with classification)',
    ]


def test_classifier_needs_only_mmpretrain(tmp_path):
    code = """
        import dynnet
        from mmengine.registry import MODELS
        print(MODELS.get('dynnet.MultiExitClassifier').__mro__[1].__module__)
    """
    blocked = ('mmdet', 'mmrotate', 'mmaction')
    out = run_python(code, tmp_path, blocked=blocked)
    assert out.strip().splitlines()[-1].startswith('mmpretrain.')


@pytest.mark.parametrize(
    ('toolbox', 'command'),
    [
        ('mmpretrain', '--with classification'),
        ('mmdet', '--with detection --ops'),
        ('mmrotate', '--with rotated --ops'),
        ('mmaction', '--with video'),
    ],
)
def test_require_names_the_command(toolbox, command, monkeypatch):
    monkeypatch.setattr(optional, '_is_installed', lambda name: name != toolbox)
    with pytest.raises(ImportError) as caught:
        optional.require(toolbox, 'config x.py')
    message = str(caught.value)
    assert message.startswith(f'config x.py needs {toolbox}, which is not installed')
    assert message.rstrip(')').endswith(command) and '\n' not in message


def test_mmcv_without_ops_is_told_apart(monkeypatch):
    monkeypatch.setattr(optional, '_is_installed', lambda name: name != 'mmcv._ext')
    assert optional.is_available('mmpretrain')
    assert not optional.is_available('mmdet')
    with pytest.raises(ImportError) as caught:
        optional.require('mmdet', 'config x.py')
    assert str(caught.value) == (
        "config x.py needs mmdet, which needs mmcv's compiled ops, which are not "
        'installed: python tools/setup_env.py --venv .venv --with classification --ops'
    )
