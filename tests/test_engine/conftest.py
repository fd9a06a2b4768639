import itertools
from pathlib import Path

import numpy as np
import pytest
from mmengine.config import Config
from mmengine.runner import Runner

import dynnet  # noqa: F401
from dynnet.utils.optional import is_available

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / 'tests/data/configs/tiny_train.py'
_names = (f'tiny_{number}' for number in itertools.count())


@pytest.fixture(scope='session')
def tiny_data(tmp_path_factory):
    """Folder with 40 training and 16 test pictures of four classes."""
    rng = np.random.default_rng(0)
    arrays = {}
    for split, num in [('train', 40), ('test', 16)]:
        arrays[f'y_{split}'] = labels = np.arange(num) % 4
        noise = rng.integers(0, 80, (num, 32, 32, 1))
        arrays[f'x_{split}'] = (noise + 40 * labels[:, None, None, None]).astype('u1')
    folder = tmp_path_factory.mktemp('data')
    np.savez(folder / 'tiny.npz', **arrays)
    return folder


@pytest.fixture
def tiny_config(tiny_data):
    """Build the tiny config with some settings replaced."""
    if not is_available('mmpretrain'):
        pytest.skip('the tiny network is made of mmpretrain parts')

    def build(work_dir, **options):
        cfg = Config.fromfile(CONFIG)
        for split in ('train', 'val', 'test'):
            cfg[f'{split}_dataloader'].dataset.data_root = str(tiny_data)
            cfg[f'{split}_dataloader'].collate_fn = dict(type='default_collate')
        cfg.merge_from_dict(options)
        cfg.work_dir = str(work_dir)
        # mmengine keeps one logger and message hub for each name in a process.
        cfg.experiment_name = next(_names)
        return cfg

    return build


@pytest.fixture
def tiny_runner(tiny_config, monkeypatch):
    """Build a runner of the tiny config with some settings replaced."""
    # Most of the time of such small runs would go into these two texts.
    monkeypatch.setattr(Config, 'pretty_text', property(str))
    monkeypatch.setattr('mmengine.runner.runner.collect_env', dict)
    return lambda work_dir, **options: Runner.from_cfg(tiny_config(work_dir, **options))
