"""export_onnx.py, run_onnx.py and image_demo.py, from a config to predictions."""

import importlib.util
import json
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

pytest.importorskip('mmpretrain')
pytest.importorskip('onnx')
pytest.importorskip('onnxruntime')

from dynnet.apis import EarlyExitInferencer  # noqa: E402
from dynnet.utils.cli import run_main  # noqa: E402
from dynnet.utils.errors import ConfigError  # noqa: E402

ROOT = Path(__file__).parents[2]
CONFIG = """
default_scope = 'mmpretrain'
custom_imports = dict(imports=['dynnet'])
data_preprocessor = dict(mean=[120, 110, 100], std=[60, 55, 50], to_rgb=True)
model = dict(
    type='dynnet.MultiExitClassifier',
    backbone=dict(type='dynnet.MSDNet', num_blocks=3, base_channels=4, growth_rate=2),
    head=dict(
        type='dynnet.MultiExitHead',
        num_classes=3,
        exit=dict(type='dynnet.ConvExit', channels=8),
    ),
)
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='ResizeEdge', scale=24, edge='short'),
    dict(type='CenterCrop', crop_size=20),
    dict(type='PackInputs'),
]
test_dataloader = dict(
    dataset=dict(
        type='CustomDataset',
        data_root='none',
        metainfo=dict(classes=['ant', 'bee', 'cow']),
        pipeline=test_pipeline,
    )
)
"""


def tool(name):
    spec = importlib.util.spec_from_file_location(
        Path(name).stem, ROOT / 'tools' / name
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.main


@pytest.fixture(scope='module')
def project(tmp_path_factory):
    """A config, weights, pictures, and thresholds that the pictures spread over."""
    folder = tmp_path_factory.mktemp('project')
    config, weights = folder / 'config.py', folder / 'weights.pth'
    config.write_text(CONFIG)
    rng, pictures = np.random.default_rng(0), []
    for i in range(6):
        image = rng.integers(0, 256, (5, 5, 3), dtype=np.uint8)
        pictures.append(str(folder / f'{i}.png'))
        cv2.imwrite(pictures[-1], cv2.resize(image, (40 + i, 30)))
    torch.manual_seed(0)
    inferencer = EarlyExitInferencer(config, mode='simulate')
    model = inferencer.model
    for weight in model.head.parameters():
        if weight.dim() == 2:
            torch.nn.init.normal_(weight, std=3)
    torch.save(dict(state_dict=model.state_dict(), meta={}), weights)
    batch = [inferencer.pipeline(p)['inputs'] for p in pictures]
    inputs = model.data_preprocessor(dict(inputs=batch))['inputs']
    with torch.no_grad():
        scores = model.criterion.score_all(model(inputs))
    thresholds = [float(scores[0].sort().values[3:5].mean()), 2.0]
    return str(config), str(weights), pictures, [repr(t) for t in thresholds]


def rows(text):
    """Class and exit of each picture in a printed table."""
    found = re.findall(r'^\S+\.png +(\w+) +[\d.]+ +(\d) ', text, re.MULTILINE)
    return [(name, int(number)) for name, number in found]


def test_export_then_run_equals_the_demo(project, tmp_path, capsys):
    config, weights, pictures, thresholds = project
    out = tmp_path / 'results.json'
    tool('image_demo.py')(
        [config, weights, *pictures, '--thresholds', *thresholds, '--out', str(out)]
    )
    demo = rows(capsys.readouterr().out)
    results = json.loads(out.read_text())
    assert demo == [(r['class_name'], r['exit']) for r in results]
    assert [r['picture'] for r in results] == pictures
    assert {r['exit'] for r in results} == {1, 3}

    folder = str(tmp_path / 'onnx')
    tool('deployment/export_onnx.py')(
        [config, weights, folder, '--thresholds', *thresholds]
    )
    assert re.search(
        r'3 graphs for pictures of shape \(3, 20, 20\); all exits within',
        capsys.readouterr().out,
    )
    tool('deployment/run_onnx.py')([folder, *pictures])
    assert rows(capsys.readouterr().out) == demo
    tool('deployment/run_onnx.py')([folder, *pictures, '--thresholds', '0', '0'])
    assert {number for _, number in rows(capsys.readouterr().out)} == {1}


def test_batches_and_modes(project, capsys):
    config, weights, pictures, _ = project
    demo = tool('image_demo.py')
    for number in (1, 3):
        options = ['--mode', f'exit={number}', '--batch-size', '4']
        demo([config, weights, *pictures, *options])
        text = capsys.readouterr().out
        assert [n for _, n in rows(text)] == [number] * 6
        assert re.search(rf'^mean +{number}\.00', text, re.MULTILINE)


def test_export_without_thresholds_and_with_a_size(project, tmp_path, capsys):
    _, weights, pictures, thresholds = project
    folder = str(tmp_path / 'onnx')
    # Without the crop the network sees pictures as large as they come.
    bare = tmp_path / 'bare.py'
    bare.write_text(re.sub(r".*'(ResizeEdge|CenterCrop)'.*\n", '', CONFIG))
    arguments = [str(bare), weights, folder]
    export, run = tool('deployment/export_onnx.py'), tool('deployment/run_onnx.py')
    with pytest.raises(ConfigError, match='give theirs with --size H W'):
        export(arguments)
    export([*arguments, '--size', '16', '24', '--dynamic-batch'])
    text = capsys.readouterr().out
    assert '(3, 16, 24)' in text
    assert 'They have no thresholds' in text
    with pytest.raises(ValueError, match='the export has no thresholds'):
        run([folder, *pictures])
    run([folder, *pictures, '--size', '16', '24', '--thresholds', *thresholds])
    assert len(rows(capsys.readouterr().out)) == 6


@pytest.mark.parametrize(
    ('name', 'arguments', 'message'),
    [
        ('image_demo.py', ['none.py', 'W', 'P'], 'config file none.py does not exist'),
        ('image_demo.py', ['C', 'none.pth', 'P'], 'checkpoint none.pth does not exist'),
        ('image_demo.py', ['C', 'W', 'P'], "mode='execute' needs thresholds"),
        (
            'image_demo.py',
            ['C', 'W', 'P', '--thresholds', '1', 'x'],
            '--thresholds 1 x: give one JSON file, or numbers',
        ),
        (
            'image_demo.py',
            ['C', 'W', 'none.png', '--mode', 'simulate'],
            'picture none.png does not exist',
        ),
        ('deployment/run_onnx.py', ['none', 'P'], 'none has no config.py'),
    ],
)
def test_mistakes_are_one_line(project, capsys, name, arguments, message):
    config, weights, pictures, _ = project
    known = dict(C=config, W=weights, P=pictures[0])
    main, arguments = tool(name), [known.get(a, a) for a in arguments]
    assert run_main(lambda: main(arguments)) == 1
    error = capsys.readouterr().err
    assert error.startswith('error: ')
    assert error.count('\n') == 1
    assert message in error
