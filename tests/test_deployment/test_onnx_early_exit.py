import json
import sys

import numpy as np
import pytest
import torch

pytest.importorskip('mmpretrain')
onnx = pytest.importorskip('onnx')
pytest.importorskip('onnxruntime')

from mmengine.registry import DefaultScope  # noqa: E402

from dynnet.deployment import OnnxEarlyExit, export_exits  # noqa: E402
from dynnet.registry import MODELS  # noqa: E402
from dynnet.utils.errors import ConfigError  # noqa: E402

SHAPE = (1, 20, 20)
NEVER = float('inf')
BACKBONES = dict(
    ranet=dict(
        type='dynnet.RANet',
        num_blocks=2,
        block_step=1,
        step=2,
        base_channels=4,
        growth_rate=4,
        scale_list=(1, 2, 3),
        in_channels=1,
    ),
    # Two sub-networks of one resolution, and blocks of growing length.
    ranet_lg=dict(
        type='dynnet.RANet',
        num_blocks=2,
        block_step=1,
        step=2,
        step_mode='lg',
        base_channels=4,
        growth_rate=4,
        growth_factor=(2, 2, 1),
        bottleneck_factor=(2, 2, 1),
        scale_list=(1, 2, 2),
        in_channels=1,
    ),
    msdnet=dict(
        type='dynnet.MSDNet',
        num_blocks=4,
        base=1,
        step=2,
        base_channels=4,
        growth_rate=4,
        in_channels=1,
    ),
    msdnet_min=dict(
        type='dynnet.MSDNet',
        num_blocks=3,
        step=2,
        prune='min',
        base_channels=4,
        growth_rate=4,
        in_channels=1,
    ),
    staged=dict(
        type='dynnet.StagedBackbone',
        backbone=dict(
            type='mmpretrain.ResNet',
            depth=18,
            in_channels=1,
            base_channels=8,
            stem_channels=8,
            out_indices=(0, 1, 2, 3),
        ),
    ),
)


def build(backbone, criterion='MaxSoftmax', exit=None):
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        model = MODELS.build(
            dict(
                type='dynnet.MultiExitClassifier',
                backbone=dict(BACKBONES[backbone]),
                head=dict(
                    type='dynnet.MultiExitHead',
                    num_classes=5,
                    exit=exit or dict(type='dynnet.ConvExit', channels=8),
                ),
                criterion=dict(type=criterion),
            )
        )
    # BN statistics of real features, and classes that differ.
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None
        elif isinstance(module, torch.nn.Linear):
            torch.nn.init.normal_(module.weight, std=2)
    with torch.no_grad():
        model.train()(torch.randn(32, *SHAPE))
    return model.eval()


def spread_thresholds(model, x):
    """Thresholds between two samples' scores, so that many leave at every exit."""
    with torch.no_grad():
        scores = model.criterion.score_all(model(x))
    thresholds, left = [], torch.ones(len(x), dtype=torch.bool)
    for score in scores[:-1]:
        ordered = score[left].sort().values
        middle = len(ordered) // 2
        thresholds.append(float(ordered[middle - 1 : middle + 1].mean()))
        left &= score < thresholds[-1]
    return thresholds


def execute(model, x, thresholds):
    model.set_thresholds(thresholds)
    model.mode = 'execute'
    with torch.no_grad():
        logits, exits = model._execute(x)
    return logits.numpy(), exits.numpy()


@pytest.fixture(scope='module')
def export(tmp_path_factory):
    """Models and their exports, made once."""
    made = {}

    def get(backbone, dynamic_batch=False):
        key = backbone, dynamic_batch
        if key not in made:
            model, folder = build(backbone), tmp_path_factory.mktemp(backbone)
            made[key] = model, folder, export_exits(model, folder, SHAPE, dynamic_batch)
        return made[key]

    return get


@pytest.mark.parametrize(
    ('backbone', 'dynamic_batch'),
    [(name, False) for name in BACKBONES]
    + [(name, True) for name in ('ranet', 'msdnet', 'staged')],
)
def test_equals_pytorch(export, backbone, dynamic_batch):
    model, folder, _ = export(backbone, dynamic_batch)
    x = torch.randn(16, *SHAPE)
    thresholds = spread_thresholds(model, x)
    expected, exits = execute(model, x, thresholds)
    net = OnnxEarlyExit(folder, thresholds)
    logits, left_at = net(x.numpy())
    assert left_at.tolist() == exits.tolist()
    assert len(set(left_at)) > 2
    np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-4)
    # The same alone and in company.
    alone, at = net(x[3:4].numpy())
    assert at[0] == exits[3]
    np.testing.assert_allclose(alone, expected[3:4], rtol=0, atol=1e-4)


@pytest.mark.parametrize('backbone', BACKBONES)
def test_every_exit_equals_pytorch(export, backbone):
    model, folder, _ = export(backbone)
    x = torch.randn(3, *SHAPE)
    with torch.no_grad():
        expected = model(x).numpy()
    last = model.num_exits - 1
    for k in range(last + 1):
        thresholds = [None] * k + [-NEVER] * (last - k)
        logits, left_at = OnnxEarlyExit(folder, thresholds)(x.numpy())
        assert left_at.tolist() == [k] * 3
        np.testing.assert_allclose(logits, expected[k], rtol=0, atol=1e-4)


@pytest.mark.parametrize('criterion', ['Margin', 'Entropy', 'Patience'])
def test_criteria(tmp_path, criterion):
    model = build('msdnet', criterion)
    x = torch.randn(16, *SHAPE)
    if criterion == 'Patience':
        thresholds = [NEVER, 2.0, 2.0]
    else:
        thresholds = spread_thresholds(model, x)
    expected, exits = execute(model, x, thresholds)
    export_exits(model, tmp_path, SHAPE, dynamic_batch=True)
    logits, left_at = OnnxEarlyExit(tmp_path)(x.numpy())
    assert left_at.tolist() == exits.tolist()
    assert len(set(left_at)) > 1
    np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize('dynamic_batch', [False, True])
def test_later_graphs_are_not_run(export, dynamic_batch):
    model, folder, _ = export('msdnet', dynamic_batch)
    x = torch.randn(16, *SHAPE)
    everybody = OnnxEarlyExit(folder, [0.0, 0.0, 0.0])
    everybody.sessions[1:] = [None] * 3  # running one of them would fail
    _, left_at = everybody(x.numpy())
    assert left_at.tolist() == [0] * 16

    thresholds = spread_thresholds(model, x)
    _, exits = execute(model, x, thresholds)
    net, ran = OnnxEarlyExit(folder, thresholds), [0] * 4
    for k, session in enumerate(net.sessions):
        net.sessions[k] = _Counting(session, ran, k)
    net(x.numpy())
    assert ran == [int((exits >= k).sum()) for k in range(4)]


class _Counting:
    """Counts the samples that a session runs."""

    def __init__(self, session, ran, k):
        self.session, self.ran, self.k = session, ran, k

    def run_with_ort_values(self, names, feed):
        outputs = self.session.run_with_ort_values(names, feed)
        self.ran[self.k] += len(outputs[0].numpy())
        return outputs


@pytest.mark.parametrize('backbone', BACKBONES)
def test_graphs_pass_on_only_what_is_read(export, backbone):
    _, folder, manifest = export(backbone)
    known = {'x'}
    for i, segment in enumerate(manifest['segments']):
        graph = onnx.load(folder / segment['file'])
        onnx.checker.check_model(graph, full_check=True)
        assert [v.name for v in graph.graph.input] == segment['inputs']
        assert [v.name for v in graph.graph.output] == segment['outputs']
        assert set(segment['inputs']) <= known
        states = set(segment['outputs']) - {'logits', 'score'}
        assert not states & known
        known |= states
        later = {n for s in manifest['segments'][i + 1 :] for n in s['inputs']}
        assert states <= later
        shapes = {
            v.name: [d.dim_value for d in v.type.tensor_type.shape.dim][1:]
            for v in graph.graph.output
        }
        assert shapes == segment['shapes']
    assert manifest['segments'][-1]['outputs'] == ['logits']


def test_resizes_align_corners(export):
    _, folder, manifest = export('ranet')
    resizes = [
        {a.name: a for a in node.attribute}
        for segment in manifest['segments']
        for node in onnx.load(folder / segment['file']).graph.node
        if node.op_type == 'Resize'
    ]
    assert resizes
    for attributes in resizes:
        assert attributes['coordinate_transformation_mode'].s == b'align_corners'
        assert attributes['mode'].s == b'linear'


def test_manifest(tmp_path):
    model = build('msdnet')
    model.set_thresholds([0.5, NEVER, 0.25])
    model.dataset_meta = dict(classes=('a', 'b', 'c', 'd', 'e'))
    model.train()
    export_exits(model, tmp_path, SHAPE)
    assert model.training
    manifest = json.loads((tmp_path / 'manifest.json').read_text())
    assert manifest['thresholds'] == [0.5, None, 0.25]
    assert manifest['criterion'] == dict(type='MaxSoftmax')
    net = OnnxEarlyExit(tmp_path)
    assert net.thresholds.tolist() == [0.5, NEVER, 0.25]
    assert net.classes == ['a', 'b', 'c', 'd', 'e']
    assert net.exit_macs == model.measure_costs(SHAPE).macs
    assert net.input_shape == SHAPE
    # No file knows where it was made.
    for path in tmp_path.iterdir():
        assert str(tmp_path).encode() not in path.read_bytes()
        assert b'dynnet/models' not in path.read_bytes()


def test_missing_packages_are_named(export, tmp_path, monkeypatch):
    model, folder, _ = export('msdnet')
    monkeypatch.setitem(sys.modules, 'onnxruntime', None)
    with pytest.raises(ImportError, match='needs onnxruntime: pip install'):
        OnnxEarlyExit(folder, [0.5, 0.5, 0.5])
    monkeypatch.setitem(sys.modules, 'onnx', None)
    with pytest.raises(ImportError, match='needs onnx: pip install'):
        export_exits(model, tmp_path, SHAPE)


def test_wrong_use(tmp_path):
    model = build('msdnet')
    export_exits(model, tmp_path, SHAPE)
    with pytest.raises(ValueError, match='the export has no thresholds'):
        OnnxEarlyExit(tmp_path)
    with pytest.raises(ValueError, match='4 exits need 3 thresholds'):
        OnnxEarlyExit(tmp_path, [0.5])
    with pytest.raises(ValueError, match='no NaN'):
        OnnxEarlyExit(tmp_path, [0.5, 0.5, float('nan')])
    net = OnnxEarlyExit(tmp_path, [0.5, 0.5, 0.5])
    with pytest.raises(ValueError, match=r'exported for \(1, 20, 20\)'):
        net(np.zeros((1, 1, 28, 28), np.float32))
    assert net(np.zeros((0, *SHAPE), np.float32))[0].shape == (0, 5)
    path = tmp_path / 'manifest.json'
    manifest = json.loads(path.read_text())
    path.write_text(json.dumps(dict(manifest, version=99)))
    with pytest.raises(ValueError, match='manifest.json: version 99'):
        OnnxEarlyExit(tmp_path)
    path.write_text('[]')
    with pytest.raises(ValueError, match='manifest.json: not an export of exits'):
        OnnxEarlyExit(tmp_path)
    path.write_text('{')
    with pytest.raises(ValueError, match='manifest.json: not a JSON file'):
        OnnxEarlyExit(tmp_path)
    path.unlink()
    with pytest.raises(FileNotFoundError, match='manifest.json does not exist'):
        OnnxEarlyExit(tmp_path)
    with pytest.raises(ConfigError, match='Linear cannot be exported exit by exit'):
        export_exits(torch.nn.Linear(2, 2), tmp_path, SHAPE)
