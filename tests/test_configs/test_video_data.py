"""The video data bases, on made clips in the official layouts."""

import copy

import cv2
import numpy as np
import pytest
from mmengine.config import Config
from mmengine.registry import DefaultScope

pytest.importorskip('decord')

from dynnet.registry import DATASETS, METRICS
from dynnet.utils.optional import is_available

from .common import ROOT

if not is_available('mmaction'):
    pytest.skip('mmaction is not installed', allow_module_level=True)

BASES = ROOT / '_base_/datasets'
COMMA = 'v_a,20,3\nv_b,2,1\nv_c,20,9,7\n'
# base: variable, lists, videos or frames, classes, clips that stay, labels of the last
LAYOUTS = {
    'activitynet': ('ACTIVITYNET_ROOT', 'actnet_{}_split.txt', COMMA),
    'activitynet_frames': ('ACTIVITYNET_ROOT', 'actnet_{}_split.txt', COMMA),
    'fcvid': ('FCVID_ROOT', 'fcvid_{}_split.txt', COMMA.replace('v_', 'dir/v_')),
    'fcvid_frames': ('FCVID_ROOT', 'fcvid_{}_split.txt', COMMA.replace('v_', 'd/v_')),
    'mini_kinetics': (
        'MINI_KINETICS_ROOT',
        'mini_{}_videofolder.txt',
        'a class/v_a 20 3\na class/v_b 2 1\na class/v_c 20 7\n',
    ),
    'mini_kinetics_frames': (
        'MINI_KINETICS_ROOT',
        'mini_{}_videofolder.txt',
        'a class/v_a 20 3\na class/v_b 2 1\na class/v_c 20 7\n',
    ),
    'sthv1': ('STHV1_ROOT', '{}_videofolder.txt', '11 20 3\n12 20 7\n'),
    'sthv2': ('STHV2_ROOT', '{}_videofolder.txt', '11 20 3\n12 20 7\n'),
    'sthv2_video': ('STHV2_ROOT', '{}_videofolder.txt', '11 20 3\n12 20 7\n'),
}
TEMPLATES = {'sthv1': '{:05d}.jpg', 'sthv2': '{:06d}.jpg'}


def write_frames(folder, template):
    folder.mkdir(parents=True)
    for index in range(1, 21):
        image = np.full((60, 80, 3), 12 * index, np.uint8)
        cv2.imwrite(str(folder / template.format(index)), image)


def write_video(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    codec = 'VP80' if path.suffix == '.webm' else 'mp4v'
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*codec), 10, (80, 60))
    for index in range(1, 21):
        writer.write(np.full((60, 80, 3), 12 * index, np.uint8))
    writer.release()


@pytest.fixture(params=LAYOUTS)
def base(request, tmp_path, monkeypatch):
    """Name and config of a base, with made clips in its layout."""
    name = request.param
    variable, lists, content = LAYOUTS[name]
    monkeypatch.setenv(variable, str(tmp_path))
    cfg = Config.fromfile(str(BASES / f'{name}.py'))
    for split in ('train', 'val'):
        (tmp_path / lists.format(split)).write_text(content)
    for line in content.splitlines():
        path = line.split(',')[0] if ',' in line else line.rsplit(' ', 2)[0]
        dataset = cfg.train_dataloader.dataset
        if dataset.type == 'dynnet.FrameListDataset':
            template = TEMPLATES.get(name, 'image_{:05d}.jpg')
            write_frames(tmp_path / 'frames' / path, template)
        else:
            write_video(tmp_path / 'videos' / (path + dataset.suffix))
    return name, cfg


def test_clips_come_as_the_base_says(base):
    name, cfg = base
    frames = 20 if name.startswith('sth') else 16
    last_labels = [7, 9] if 'activitynet' in name or 'fcvid' in name else [7]
    for split in ('train', 'val', 'test'):
        with DefaultScope.overwrite_default_scope('mmaction'):
            dataset = DATASETS.build(copy.deepcopy(cfg[f'{split}_dataloader'].dataset))
        assert len(dataset) == 2 and dataset.num_broken == 0
        assert dataset.test_mode == (split != 'train')
        packed = dataset[1]
        assert dataset.num_broken == 0, dataset.broken_clips()
        assert packed['inputs'].shape == (frames, 3, 224, 224)
        label = packed['data_samples'].gt_label.item()
        assert label == 7 if split != 'train' else label in last_labels
        if last_labels == [7, 9] and split != 'train':
            assert packed['data_samples'].labels == last_labels
        shades = packed['inputs'].float().mean((1, 2, 3)).numpy() / 12
        if split != 'train':  # frame i, from 1, has shade 12 * i
            groups = [shades[:8], shades[8:]] if frames == 20 else [shades]
            for group in groups:
                t = len(group)
                wanted = np.floor(20 / t / 2 + 20 / t * np.arange(t)) + 1
                assert np.allclose(group, wanted, atol=0.7)


def test_metric_and_flip_are_the_data_sets(base):
    name, cfg = base
    kinds = [step['type'] for step in cfg.train_dataloader.dataset.pipeline]
    assert ('mmaction.Flip' in kinds) != name.startswith('sth')
    metric = METRICS.build(cfg.val_evaluator)
    expected = dict(activitynet='first', fcvid='all').get(name.split('_')[0])
    assert metric.mean_ap == expected and metric.topk == (1, 5)
    assert cfg.val_evaluator == cfg.test_evaluator
