"""ARC in ONNX Runtime, as static convolutions, compiled and exported."""

import copy

import pytest
import torch

pytest.importorskip('mmpretrain')

from mmengine.registry import DefaultScope

import dynnet  # noqa: F401
from dynnet.deployment.arc_static import make_static
from dynnet.models.layers import AdaptiveRotatedConv2d
from dynnet.registry import MODELS
from dynnet.utils.errors import ConfigError


@pytest.fixture(scope='module')
def net():
    torch.manual_seed(0)
    cfg = dict(
        type='dynnet.ARCResNet',
        depth=18,
        replace=('none', [0], 'none', [1]),
        base_channels=8,
        stem_channels=8,
        kernel_number=2,
    )
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        net = MODELS.build(cfg).eval()
    for module in net.modules():
        if isinstance(module, AdaptiveRotatedConv2d):
            torch.nn.init.normal_(module.routing.angle.weight)
            torch.nn.init.normal_(module.routing.gate.weight)
    return net


@pytest.mark.parametrize(
    'settings',
    [{}, dict(stride=2), dict(dilation=2, padding=2), dict(padding=(0, 2), bias=False)],
)
def test_static_form_is_exact(settings):
    torch.manual_seed(0)
    settings = dict(padding=1, bias=True, kernel_number=3) | settings
    conv = AdaptiveRotatedConv2d(4, 6, 3, **settings).eval()
    torch.nn.init.normal_(conv.routing.angle.weight)
    if conv.bias is not None:
        torch.nn.init.normal_(conv.bias)
    x = torch.randn(2, 4, 9, 8)
    static = make_static(torch.nn.Sequential(conv))
    assert type(static[0]).__name__ == 'StaticRotatedConv2d'
    torch.testing.assert_close(static(x), conv(x), rtol=1e-4, atol=1e-5)


def test_static_form_refuses_groups():
    conv = AdaptiveRotatedConv2d(4, 6, 3, groups=2)
    with pytest.raises(ConfigError, match='groups=1'):
        make_static(torch.nn.Sequential(conv))


@pytest.mark.parametrize('form', ['dynamic', 'static'])
def test_onnx_runtime_gives_our_features(net, form, tmp_path):
    onnxruntime = pytest.importorskip('onnxruntime')
    onnx = pytest.importorskip('onnx')
    x = torch.randn(1, 3, 64, 64)
    model = make_static(net) if form == 'static' else copy.deepcopy(net)
    path = str(tmp_path / 'arc.onnx')
    torch.onnx.export(
        model, (x,), path, input_names=['x'], opset_version=17, dynamo=False
    )
    graph = onnx.load(path).graph
    constants = {item.name for item in graph.initializer}
    constants |= {
        n.output[0] for n in graph.node if n.op_type in ('Constant', 'Identity')
    }
    computed = [
        n for n in graph.node if n.op_type == 'Conv' and n.input[1] not in constants
    ]
    assert len(computed) == (2 if form == 'dynamic' else 0)
    session = onnxruntime.InferenceSession(path, providers=['CPUExecutionProvider'])
    other = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        expected = net(other)[0]
    (ours,) = session.run(None, {'x': other.numpy()})
    torch.testing.assert_close(torch.from_numpy(ours), expected, rtol=1e-3, atol=1e-4)


def test_export_with_a_free_batch():
    torch.manual_seed(0)
    conv = AdaptiveRotatedConv2d(4, 6, 3, padding=1, kernel_number=2).eval()
    batch = torch.export.Dim('batch', min=2, max=64)
    program = torch.export.export(
        conv, (torch.randn(3, 4, 8, 8),), dynamic_shapes=({0: batch},)
    )
    for size in (2, 5):
        x = torch.randn(size, 4, 8, 8)
        torch.testing.assert_close(program.module()(x), conv(x))


def test_compiles_without_graph_breaks():
    torch.manual_seed(0)
    conv = AdaptiveRotatedConv2d(4, 6, 3, padding=1, kernel_number=2).eval()
    compiled = torch.compile(conv, backend='eager', fullgraph=True)
    with torch.no_grad():
        for size in (1, 3):
            x = torch.randn(size, 4, 8, 8)
            torch.testing.assert_close(compiled(x), conv(x))
