"""dynnet in somebody else's project: all it takes is a line of ``custom_imports``.

The project's folder lies elsewhere, its processes start in it, and its configs inherit
nothing from ours.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import dynnet

mmcv = pytest.importorskip('mmcv')
CHECKOUT = Path(dynnet.__file__).parents[1]

RUN = """
import sys

from mmengine.config import Config
from mmengine.runner import Runner

cfg = Config.fromfile(sys.argv[1])
if len(sys.argv) > 2:
    cfg.load_from = sys.argv[2]
runner = Runner.from_cfg(cfg)
if cfg.get('load_from'):
    runner.test()
else:
    runner.train()
"""
# The project's own part: a model whose convolutions are swapped once it is initialised.
TURNED = """
from mmengine.registry import MODELS

from dynnet.models.layers import convert_conv


def turned(base):
    class Turned(MODELS.get(base)):
        def __init__(self, *args, patterns, **kwargs):
            super().__init__(*args, **kwargs)
            self.init_weights()
            self.patterns = convert_conv(self, patterns, kernel_number=2)

        def init_weights(self):
            if not hasattr(self, 'patterns'):
                super().init_weights()

    return Turned


MODELS.register_module('TurnedClassifier', module=turned('mmpretrain.ImageClassifier'))
"""
RUNTIME = """
custom_imports = dict(imports=IMPORTS)
default_scope = SCOPE
work_dir = 'work'
train_cfg = dict(type='IterBasedTrainLoop', max_iters=2)
val_cfg, test_cfg = None, dict()
optim_wrapper = dict(optimizer=dict(type='SGD', lr=0.01))
default_hooks = dict(checkpoint=dict(type='CheckpointHook', interval=2, by_epoch=False))
loader = dict(batch_size=2, num_workers=0, dataset=dataset)
train_dataloader = dict(sampler=dict(type='InfiniteSampler'), **loader)
test_dataloader = dict(sampler=dict(type='DefaultSampler', shuffle=False), **loader)
"""
CLASSIFIER = """
model = dict(
    type='mmengine.TurnedClassifier',
    patterns='backbone.layer?.*.conv2',
    data_preprocessor=dict(num_classes=2),
    backbone=dict(
        type='ResNet_CIFAR', depth=18, stem_channels=8, base_channels=8
    ),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(type='LinearClsHead', num_classes=2, in_channels=64),
)
dataset = dict(
    type='CustomDataset',
    data_root='pictures',
    pipeline=[dict(type='LoadImageFromFile'), dict(type='PackInputs')],
)
test_evaluator = dict(type='Accuracy')
"""
DETECTOR = """
conv_cfg = dict(type='dynnet.AdaptiveRotatedConv2d', kernel_number=2)
model = dict(
    type='RetinaNet',
    data_preprocessor=dict(type='DetDataPreprocessor', pad_size_divisor=32),
    backbone=dict(
        type='ResNet', depth=18, base_channels=8, num_stages=4, out_indices=(2, 3)
    ),
    neck=dict(type='FPN', in_channels=[32, 64], out_channels=16, num_outs=2),
    bbox_head=dict(
        type='RetinaHead',
        num_classes=1,
        in_channels=16,
        feat_channels=16,
        stacked_convs=1,
        conv_cfg=conv_cfg,
        anchor_generator=dict(
            type='AnchorGenerator', ratios=[1.0], scales=[2], strides=[16, 32]
        ),
        bbox_coder=dict(type='DeltaXYWHBBoxCoder'),
    ),
    train_cfg=dict(
        assigner=dict(type='MaxIoUAssigner', pos_iou_thr=0.5, neg_iou_thr=0.4),
        sampler=dict(type='PseudoSampler'),
        allowed_border=-1,
        pos_weight=-1,
    ),
    test_cfg=dict(
        nms_pre=10, score_thr=0.0, nms=dict(type='nms', iou_threshold=0.5),
        max_per_img=10,
    ),
)
dataset = dict(
    type='CocoDataset',
    metainfo=dict(classes=('thing',)),
    ann_file='boxes.json',
    data_prefix=dict(img='pictures/a/'),
    pipeline=[
        dict(type='LoadImageFromFile'),
        dict(type='LoadAnnotations', with_bbox=True),
        dict(type='Resize', scale=(64, 64), keep_ratio=True),
        dict(type='PackDetInputs'),
    ],
)
test_evaluator = dict(type='DumpResults', out_file_path='found.pkl')
"""
# Config, toolbox, custom imports, and one layer that has become ours.
CASES = dict(
    classifier=(
        CLASSIFIER,
        'mmpretrain',
        ['dynnet', 'turned'],
        'backbone.layer4.0.conv2',
    ),
    detector=(DETECTOR, 'mmdet', ['dynnet'], 'bbox_head.cls_convs.0.conv'),
)


def make_pictures(folder: Path) -> None:
    """Two pictures in each of two classes, with one box in each of the first."""
    rng = np.random.default_rng(0)
    coco = dict(images=[], annotations=[], categories=[dict(id=1, name='thing')])
    for name in ('a', 'b'):
        for number in range(2):
            picture = rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)
            mmcv.imwrite(picture, str(folder / f'pictures/{name}/{number}.png'))
    for number in range(2):
        image = dict(id=number, file_name=f'{number}.png', width=64, height=64)
        box = dict(id=number, image_id=number, category_id=1, iscrowd=0, area=1024)
        coco['images'].append(image)
        coco['annotations'].append(dict(box, bbox=[16, 16, 32, 32]))
    (folder / 'boxes.json').write_text(json.dumps(coco))


def run(folder: Path, *arguments: str) -> str:
    """Start the project's own script in its folder."""
    # The checkout only stands for an installed dynnet; the rest is the project's.
    paths = os.pathsep.join([str(folder), str(CHECKOUT)])
    done = subprocess.run(
        [sys.executable, '-W', 'ignore', 'run.py', *arguments],
        cwd=folder,
        env=dict(os.environ, PYTHONPATH=paths),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.mark.parametrize('kind', CASES)
def test_foreign_project_trains_and_loads(kind, tmp_path):
    config, toolbox, imports, layer = CASES[kind]
    pytest.importorskip(toolbox)
    make_pictures(tmp_path)
    runtime = RUNTIME.replace('IMPORTS', repr(imports)).replace('SCOPE', repr(toolbox))
    (tmp_path / 'config.py').write_text(config + runtime)
    (tmp_path / 'turned.py').write_text(TURNED)
    (tmp_path / 'run.py').write_text(RUN)

    run(tmp_path, 'config.py')
    state = torch.load(tmp_path / 'work/iter_2.pth', weights_only=False)['state_dict']
    kernels = state[f'{layer}.weight']
    assert kernels.dim() == 5 and len(kernels) == 2 and kernels.shape[3:] == (3, 3)
    assert f'{layer}.routing.angle.weight' in state
    # Training moved the kernels, each its own way; equal ones stay equal.
    assert torch.isfinite(kernels).all() and not torch.equal(kernels[0], kernels[1])
    if kind == 'classifier':
        # Swapped ones start with routing heads of zero: what is there now was learned.
        assert state[f'{layer}.routing.gate.weight'].abs().max() > 0

    log = run(tmp_path, 'config.py', 'work/iter_2.pth')
    assert 'Load checkpoint from work/iter_2.pth' in log
    assert 'unexpected key' not in log and 'missing key' not in log
    if kind == 'detector':
        assert (tmp_path / 'found.pkl').is_file()
    else:
        assert 'accuracy/top1' in log
