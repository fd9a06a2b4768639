"""CAM-loss and matching distillation in real runs: log, schedule, checkpoints."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip('mmpretrain')

from mmengine.config import Config
from mmengine.runner import Runner

from dynnet.utils.cli import set_collate_functions

CONFIGS = Path(__file__).parents[2] / 'configs/cam_loss'


@pytest.fixture
def data(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    arrays = {}
    for split, n in (('train', 72), ('test', 20)):
        arrays[f'x_{split}'] = rng.integers(0, 255, (n, 32, 32, 3), np.uint8)
        arrays[f'y_{split}'] = np.arange(n) % 10
    np.savez(tmp_path / 'set.npz', **arrays)
    monkeypatch.setenv('CIFAR10_NPZ', str(tmp_path / 'set.npz'))
    return tmp_path


def small(name: str, work_dir: Path, **teacher) -> Config:
    """A config of the project at a few pictures, two epochs and little width."""
    cfg = Config.fromfile(str(CONFIGS / name))
    width = dict(base_channels=2, stem_channels=2)
    cfg.model.backbone.update(width)
    cfg.model.head.in_channels = 8
    if 'teacher' in cfg.model:
        cfg.model.teacher.backbone.update(depth=20, **width)
        cfg.model.teacher.head.in_channels = 8
        cfg.model.update(teacher)
    if 'cam_weight' in cfg.default_hooks:
        cfg.default_hooks.cam_weight.update(begin=1, end=1)
    for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
        loader.update(batch_size=16, num_workers=0)
    for loader in (cfg.train_dataloader, cfg.val_dataloader):
        loader.dataset.size = 8
    cfg.train_cfg.update(max_epochs=2, val_interval=2)
    cfg.default_hooks.logger.interval = 1
    cfg.work_dir, cfg.experiment_name = str(work_dir), work_dir.name
    cfg.launcher = 'none'
    set_collate_functions(cfg)
    return cfg


def train(cfg: Config) -> tuple[Runner, list[dict]]:
    """Run it; return the logged training iterations."""
    runner = Runner.from_cfg(cfg)
    runner.train()
    path = next(Path(cfg.work_dir).glob('*/vis_data/scalars.json'))
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return runner, [line for line in lines if 'loss' in line]


def test_weight_follows_the_schedule_and_resumes(data):
    name = 'resnet20_cam_1xb64-12e_cifar10-npz.py'
    _, log = train(small(name, data / 'whole'))
    assert len(log) == 8  # 64 pictures, batches of 16, two epochs
    assert [line['schedule/cam_weight'] for line in log] == [0] * 4 + [3] * 4
    first, second = log[3], log[-1]
    assert first['loss_cam'] == 0 < first['cam_distance'] < 1
    assert second['loss_cam'] > 0 and 'constant_maps' in second
    # A run that stopped after the first epoch goes on with the second one's weight.
    resumed = small(name, data / 'resumed')
    resumed.load_from, resumed.resume = str(data / 'whole/epoch_1.pth'), True
    train(resumed)
    states = [
        torch.load(data / run / 'epoch_2.pth', weights_only=False)['state_dict']
        for run in ('whole', 'resumed')
    ]
    for key, value in states[0].items():
        assert torch.equal(value, states[1][key]), key


def test_student_is_saved_without_its_teacher(data):
    train(small('resnet20_1xb64-12e_cifar10-npz.py', data / 'teacher'))
    checkpoint = str(data / 'teacher/epoch_2.pth')
    cfg = small(
        'resnet20_cam-match-kd_1xb64-12e_cifar10-npz.py',
        data / 'student',
        teacher_ckpt=checkpoint,
    )
    _, log = train(cfg)
    assert log[-1]['loss_match'] > 0 and log[-1]['loss_kd'] > 0
    saved = torch.load(data / 'student/epoch_2.pth', weights_only=False)['state_dict']
    teacher = torch.load(checkpoint, weights_only=False)['state_dict']
    assert list(saved) == list(teacher)  # a plain ResNet-20, and nothing else
    plain = small('resnet20_1xb64-12e_cifar10-npz.py', data / 'plain')
    plain.load_from = str(data / 'student/epoch_2.pth')
    assert 0 <= Runner.from_cfg(plain).test()['accuracy/top1'] <= 100
