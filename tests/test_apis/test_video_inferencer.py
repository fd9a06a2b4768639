"""One file in; label, score, cost and a picture out."""

import json
import runpy
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config

pytest.importorskip('decord')

from dynnet.apis import VideoInferencer, init_model
from dynnet.datasets.video_reader import VideoFile
from dynnet.utils.errors import ConfigError, DataError
from dynnet.utils.optional import is_available

if not is_available('mmaction'):
    pytest.skip('mmaction is not installed', allow_module_level=True)

TOOL = Path(__file__).parents[2] / 'tools/video_demo.py'
CLASSES = ('run', 'sit', 'swim')
HEAD = dict(type='dynnet.FrameMeanHead', num_classes=3, dropout=0.0)
MODEL = dict(
    type='dynnet.AdaFocus',
    frame_size=32,
    patch_size=16,
    num_segments=4,
    global_backbone=dict(
        type='mmpretrain.ResNet_CIFAR', depth=18, stem_channels=4, base_channels=4
    ),
    backbone=dict(type='mmpretrain.ResNet', depth=18, stem_channels=8, base_channels=4),
    policy=dict(
        in_channels=32, map_size=4, mid_channels=4, hidden_channels=16, num_actions=9
    ),
    cls_head=dict(
        type='dynnet.RecurrentHead', num_classes=3, in_channels=64, hidden_channels=8
    ),
)
PIPELINE = [
    dict(type='dynnet.OpenVideo', cache_dir='never-made'),
    dict(type='dynnet.SampleSegments', num_segments=4, test_mode=True),
    dict(type='dynnet.DecodeVideo'),
    dict(type='dynnet.LoadCueTruth', truth_file='not_needed.npz'),
    dict(type='mmaction.Resize', scale=(-1, 36)),
    dict(type='mmaction.CenterCrop', crop_size=32),
    dict(type='mmaction.FormatShape', input_format='NCHW'),
    dict(type='mmaction.PackActionInputs', algorithm_keys=('cue_centres',)),
]


def config(model=MODEL, pipeline=PIPELINE):
    return Config(
        dict(
            default_scope='mmaction',
            model=model,
            data_preprocessor=dict(
                type='mmaction.ActionDataPreprocessor',
                mean=[123.675, 116.28, 103.53],
                std=[58.395, 57.12, 57.375],
                format_shape='NCHW',
            ),
            test_dataloader=dict(
                dataset=dict(
                    type='dynnet.VideoListDataset',
                    metainfo=dict(classes=list(CLASSES)),
                    pipeline=pipeline,
                )
            ),
        )
    )


@pytest.fixture(scope='module')
def clip(tmp_path_factory):
    path = tmp_path_factory.mktemp('clips') / 'noise.mp4'
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*'mp4v'), 10, (80, 60))
    coarse = np.random.default_rng(0).integers(0, 256, (12, 6, 8, 3), dtype=np.uint8)
    for frame in coarse:
        writer.write(cv2.resize(frame, (80, 60), interpolation=cv2.INTER_NEAREST))
    writer.release()
    return path


@pytest.fixture(scope='module')
def weights(tmp_path_factory):
    torch.manual_seed(0)
    model = init_model(config())
    path = tmp_path_factory.mktemp('weights') / 'net.pth'
    torch.save(dict(state_dict=model.state_dict(), meta={}), path)
    return path


def test_a_file_becomes_a_label(clip, weights):
    inferencer = VideoInferencer(config(), weights)
    (result,) = inferencer(clip)
    # The same by hand: decode, resize, normalise, run.
    frames = VideoFile(clip).get_batch([1, 4, 7, 10])
    frames = [cv2.resize(frame, (48, 36))[2:34, 8:40] for frame in frames]
    x = torch.from_numpy(np.stack(frames)).permute(0, 3, 1, 2).float()
    mean = torch.tensor([123.675, 116.28, 103.53]).view(3, 1, 1)
    std = torch.tensor([58.395, 57.12, 57.375]).view(3, 1, 1)
    with torch.no_grad():
        out = inferencer.model.run(((x - mean) / std)[None])
    probs = out.logits[0].softmax(-1).numpy()
    assert result['label'] == probs[-1].argmax()
    assert result['class_name'] == CLASSES[result['label']]
    assert result['score'] == pytest.approx(probs[-1].max(), abs=1e-5)
    assert np.allclose(result['frame_scores'], probs[:, result['label']], atol=1e-5)
    assert result['corners'].tolist() == out.corners[0].tolist()
    assert result['frame_inds'].tolist() == [1, 4, 7, 10]
    assert result['frames'] == 4 and result['focused'].all()
    assert result['macs'] == inferencer.model.costs.total and result['ms'] > 0


def test_leaving_early_costs_less(clip, weights):
    early = VideoInferencer(config(), weights, thresholds=[-100, 0, 0])
    (result,) = early(clip)
    assert result['frames'] == 1 == len(result['frame_scores'])
    assert result['macs'] == early.model.costs.of_frames(1, 1)
    late = VideoInferencer(config(), weights, thresholds=[100, 100, 100])
    assert late(clip)[0]['frames'] == 4


def colours(picture):
    return (np.abs(picture.astype(int) - (0, 230, 118)).max(-1) < 40).sum()


@pytest.mark.parametrize('kind', ['png', 'mp4'])
def test_the_patches_are_drawn(clip, weights, tmp_path, kind):
    inferencer = VideoInferencer(config(), weights, thresholds=[100, -100, 0])
    (result,) = inferencer(clip, show_dir=tmp_path / 'looked', show_format=kind)
    assert result['frames'] == 2
    path = tmp_path / 'looked' / f'noise.{kind}'
    if kind == 'png':
        sheet = cv2.imread(str(path))[..., ::-1]
        width = 32 + 2
        frames = [sheet[:32, i * width : i * width + 32] for i in range(4)]
        for index, (y, x) in enumerate(result['corners']):
            edge = frames[index][y : y + 16, x]
            assert (edge == (0, 230, 118)).all()
    else:
        frames = [frame[:32] for frame in VideoFile(path).get_batch(range(4))]
    assert colours(frames[0]) > 30 and colours(frames[1]) > 30
    for left in frames[2:]:  # not computed: darkened, no patch
        assert colours(left) == 0 and left.max() < 110


def test_two_streams(clip, tmp_path):
    tsm = dict(
        type='dynnet.AdaFocusTSM',
        frame_size=32,
        patch_size=16,
        num_glance=2,
        num_focus=3,
        global_backbone=MODEL['global_backbone'],
        backbone=MODEL['backbone'],
        policy=dict(MODEL['policy'], in_channels=64, kind='continuous'),
        global_head=dict(HEAD, in_channels=32),
        cls_head=dict(HEAD, in_channels=32),
    )
    pipeline = list(PIPELINE)
    pipeline[1] = dict(
        type='dynnet.SampleGlanceFocus', num_glance=2, num_focus=3, test_mode=True
    )
    inferencer = VideoInferencer(config(tsm, pipeline))
    (result,) = inferencer(clip, show_dir=tmp_path, show_format='png')
    assert result['corners'].shape == (3, 2) and result['frame_scores'] is None
    assert result['frame_inds'].tolist() == [2, 6, 10]
    assert (tmp_path / 'noise.png').is_file()
    with pytest.raises(ConfigError, match='AdaFocusTSM has one answer per clip'):
        VideoInferencer(config(tsm, pipeline), thresholds=[0.5])


def test_files_that_cannot_be_read_are_named(clip, weights, tmp_path):
    inferencer = VideoInferencer(config(), weights)
    half = tmp_path / 'half.mp4'
    half.write_bytes(clip.read_bytes()[:400])
    with pytest.raises(DataError, match='video .*half.mp4 is damaged or no video'):
        inferencer([clip, half])
    with pytest.raises(DataError, match='video .*gone.mp4 does not exist'):
        inferencer(tmp_path / 'gone.mp4')
    with pytest.raises(ConfigError, match='videos of different names'):
        inferencer([clip, clip], show_dir=tmp_path)
    with pytest.raises(ConfigError, match="show_format='gif'"):
        inferencer(clip, show_format='gif')


def test_configs_that_cannot_do_it():
    with pytest.raises(ConfigError, match='pipeline must begin with one of OpenVideo'):
        VideoInferencer(config(pipeline=PIPELINE[1:]))
    other = dict(
        type='mmaction.Recognizer2D',
        backbone=dict(type='mmaction.ResNet', depth=18, pretrained=None),
        cls_head=dict(type='mmaction.TSNHead', num_classes=3, in_channels=512),
    )
    with pytest.raises(ConfigError, match='describes a Recognizer2D, not an AdaFocus'):
        VideoInferencer(config(other))


def test_the_command_line(clip, weights, tmp_path, monkeypatch, capsys):
    path = tmp_path / 'config.py'
    config().dump(str(path))
    out = tmp_path / 'out.json'
    arguments = [path, weights, clip, '--out', out, '--show-dir', tmp_path / 'looked']
    monkeypatch.setattr(sys, 'argv', ['video_demo.py', *map(str, arguments)])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(TOOL), run_name='__main__')
    assert end.value.code == 0
    (result,) = json.loads(out.read_text())
    lines = capsys.readouterr().out.strip().splitlines()
    assert lines[-1].split()[1:5] == [
        result['class_name'],
        f'{result["score"]:.3f}',
        '4',
        '4',
    ]
    assert (tmp_path / 'looked' / 'noise.mp4').stat().st_size > 0
