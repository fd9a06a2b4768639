"""Pictures of masks: maps by hand, the tool on pictures and a video."""

import importlib.util
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

pytest.importorskip('mmpretrain')

from mmengine.config import Config
from mmengine.registry import DefaultScope

from dynnet.models.gates import BlockCosts, BlockRecord, GateMeter, GateOutput
from dynnet.registry import MODELS
from dynnet.utils.errors import ConfigError, DataError
from dynnet.visualization.mask_overlay import draw_masks, mask_maps

PATH = Path(__file__).parents[2] / 'tools/analysis_tools/show_masks.py'
MODEL = dict(
    type='dynnet.GatedClassifier',
    backbone=dict(type='dynnet.LASResNet', depth=50, stem_channels=8, base_channels=8),
    neck=dict(type='mmpretrain.GlobalAveragePooling'),
    head=dict(type='mmpretrain.LinearClsHead', num_classes=4, in_channels=256),
)


def test_maps_count_blocks_and_crop_padding():
    left = torch.tensor([[[[1.0, 0.0]]]])
    full = torch.ones(1, 1, 1, 1)
    costs = BlockCosts(0, 100, 100)
    meter = GateMeter(
        [
            BlockRecord('layer1.0', GateOutput(left, (4, 4)), costs),
            BlockRecord('layer1.1', GateOutput(full, (4, 4)), costs),
            BlockRecord('layer2.0', GateOutput(left, (4, 4), 2), costs),
        ]
    )
    maps = mask_maps(meter, 0, (8, 8), (8, 6))
    assert list(maps.stages) == ['layer1', 'layer2'] and maps.num_blocks == 3
    assert maps.blocks.shape == (8, 6)
    assert (maps.blocks[:, :4] == 3).all() and (maps.blocks[:, 4:] == 1).all()
    assert (maps.stages['layer1'][:, 4:] == 0.5).all()
    assert 0 < maps.macs_ratio < 1
    picture = np.full((8, 6, 3), 200, np.uint8)
    drawn = draw_masks(picture, maps)
    assert drawn.ndim == 3 and drawn.dtype == np.uint8
    with pytest.raises(ConfigError, match='no gates'):
        mask_maps(GateMeter(), 0, (8, 8), (8, 8))


@pytest.fixture(scope='module')
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp('masks')
    spec = importlib.util.spec_from_file_location('show_masks', PATH)
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    preprocessor = dict(mean=[120.0] * 3, std=[60.0] * 3, to_rgb=True)
    cfg = dict(model=MODEL, data_preprocessor=preprocessor, default_scope='mmpretrain')
    Config(cfg).dump(folder / 'config.py')
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        net = MODELS.build(MODEL)
    torch.save(dict(state_dict=net.state_dict()), folder / 'net.pth')
    frames = np.random.default_rng(0).integers(0, 255, (3, 64, 96, 3), dtype=np.uint8)
    cv2.imwrite(str(folder / 'a.png'), frames[0])
    writer = cv2.VideoWriter(
        str(folder / 'v.avi'), cv2.VideoWriter_fourcc(*'MJPG'), 10, (96, 64)
    )
    for frame in frames:
        writer.write(frame)
    writer.release()

    def run(*inputs):
        args = [str(folder / 'config.py'), str(folder / 'net.pth')]
        args += [str(folder / name) for name in inputs]
        tool.main([*args, '--out', str(folder / 'out'), '--device', 'cpu'])

    return folder, run


def test_picture_and_video(made, capsys):
    folder, run = made
    run('a.png', 'v.avi')
    drawn = cv2.imread(str(folder / 'out' / 'a_masks.png'))
    assert drawn.shape == (20 + 3 * 64, 6 * (3 * 96 + 4), 3)
    assert 'v_masks.mp4: 3 frames' in capsys.readouterr().out
    reader = cv2.VideoCapture(str(folder / 'out' / 'v_masks.mp4'))
    assert reader.get(cv2.CAP_PROP_FRAME_COUNT) == 3


def test_bad_inputs(made):
    folder, run = made
    (folder / 'x.png').write_text('no picture')
    (folder / 'x.mp4').write_text('no video')
    for name, message in [
        ('missing.png', 'does not exist'),
        ('x.png', 'not a picture'),
        ('x.mp4', 'not a video'),
    ]:
        with pytest.raises(DataError, match=message):
            run(name)
