"""What the tests of all configs share."""

import copy
import functools
import re
from pathlib import Path

import torch
import yaml
from mmengine.config import Config

from dynnet.registry import MODELS

ROOT = Path(__file__).parents[2] / 'configs'


def configs_of(*folders: str) -> list[str]:
    """The configs of some papers, by their paths inside ``configs/``."""
    return sorted(
        str(path.relative_to(ROOT))
        for folder in folders
        for path in (ROOT / folder).glob('*.py')
    )


def load(name: str) -> Config:
    return Config.fromfile(str(ROOT / name))


@functools.cache
def read(name: str) -> Config:
    """A config that nobody changes: reading all of them anew would take a minute."""
    return load(name)


def parse_name(name: str) -> re.Match | None:
    """{model}_{setting}_{gpus}xb{batch}-{epochs}e_{data}.py"""
    pattern = (
        r'(?P<model>[\w.-]+?)(_(?P<setting>[a-z-]+))?'
        r'_(?P<gpus>\d+)xb(?P<batch>\d+)-(?P<epochs>\d+)e'
        r'_(?P<data>[a-z0-9-]+?)(-holdout(?P<holdout>\d+)k)?\.py'
    )
    return re.fullmatch(pattern, Path(name).name)


def build_model(cfg: Config, device: str = 'cpu') -> torch.nn.Module:
    with torch.device(device):
        model = dict(cfg.model, data_preprocessor=cfg.data_preprocessor)
        return MODELS.build(copy.deepcopy(model)).eval()


def metafile_entry(name: str) -> dict:
    """What the folder's metafile says about a config."""
    metafile = yaml.safe_load((ROOT / name).with_name('metafile.yml').read_text())
    entries = [m for m in metafile['Models'] if m['Config'] == f'configs/{name}']
    assert len(entries) == 1 and entries[0]['Name'] == Path(name).stem
    assert entries[0]['In Collection'] == metafile['Collections'][0]['Name']
    return entries[0]
