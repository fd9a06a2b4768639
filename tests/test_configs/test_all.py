"""What holds for every config, whatever paper it belongs to."""

import re
from pathlib import Path

import pytest
import yaml
from mmengine.config import Config

import dynnet  # noqa: F401
from dynnet.utils.optional import is_available

from .common import ROOT, configs_of, load, metafile_entry, parse_name, read

PAPERS = sorted(path.parent.name for path in ROOT.glob('*/README.md'))
CONFIGS = configs_of(*PAPERS)


def needs(name: str) -> list[str]:
    """The toolboxes whose bases a config, or one that it inherits, may inherit."""
    text = (ROOT / name).read_text()
    packages = ('mmpretrain', 'mmdet', 'mmrotate', 'mmaction')
    found = [package for package in packages if f'{package}::' in text]
    for base in re.findall(r"'(\./[\w./-]+\.py)'", text):
        found += needs(str(Path(name).parent / base))
    return found


def skip_without_toolbox(name: str) -> None:
    for package in needs(name):
        if not is_available(package):
            pytest.skip(f'{name} has a base of {package}, which is not installed')


def test_every_folder_is_a_paper_or_a_base():
    folders = {path.name for path in ROOT.iterdir() if path.is_dir()}
    assert folders == {*PAPERS, '_base_'}
    assert len(CONFIGS) == len({Path(name).name for name in CONFIGS})


@pytest.mark.parametrize('paper', PAPERS)
def test_metafile_lists_every_config(paper):
    for name in configs_of(paper):
        metafile_entry(name)


def test_model_index_lists_all_metafiles():
    project = ROOT.parent
    index = yaml.safe_load((project / 'model-index.yml').read_text())
    metafiles = sorted(str(p.relative_to(project)) for p in ROOT.glob('*/metafile.yml'))
    assert sorted(index['Import']) == metafiles
    assert len(metafiles) == len(PAPERS)
    for path in metafiles:
        content = yaml.safe_load((project / path).read_text())
        assert all((project / m['Config']).is_file() for m in content['Models'])
        assert all((project / c['README']).is_file() for c in content['Collections'])


@pytest.mark.parametrize('name', CONFIGS)
def test_name_says_what_it_is(name):
    """Batch and epochs in the name are those of the config."""
    match = parse_name(name)
    if match is None:
        assert 'custom' in name, f'{name} is not named as the README says'
        return
    skip_without_toolbox(name)
    cfg = read(name)
    assert cfg.train_dataloader.batch_size == int(match['batch'])
    assert cfg.train_cfg.max_epochs == int(match['epochs'])
    total = int(match['gpus']) * int(match['batch'])
    assert cfg.auto_scale_lr.base_batch_size == total
    assert 'dynnet' in cfg.custom_imports.imports
    hooks = [hook.type for hook in cfg.get('custom_hooks', [])]
    if 'dynnet.EpochSeedHook' in hooks:  # it refuses workers that live on
        assert not cfg.train_dataloader.get('persistent_workers')


@pytest.mark.parametrize(
    'name', [configs_of(paper)[-1] for paper in PAPERS if configs_of(paper)]
)
def test_dumped_config_is_the_same(name, tmp_path):
    """What a run leaves in its work folder can be run again."""
    skip_without_toolbox(name)
    cfg = load(name)
    path = tmp_path / Path(name).name
    cfg.dump(str(path))
    assert Config.fromfile(str(path)).to_dict() == cfg.to_dict()
