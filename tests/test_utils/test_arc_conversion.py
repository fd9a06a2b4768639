"""Published ARC files, of backbones and of detectors."""

import pytest
import torch
from mmengine.config import Config

pytest.importorskip('mmpretrain')

import dynnet  # noqa: F401
from dynnet.registry import MODELS
from dynnet.utils.arc_conversion import convert_arc, run_arc_converter
from dynnet.utils.checkpoint import load_checkpoint
from dynnet.utils.errors import CheckpointError

BACKBONE = dict(
    type='dynnet.ARCResNet',
    depth=50,
    replace=('none', [1], 'none', [0]),
    kernel_number=2,
    stem_channels=4,
    base_channels=4,
)
PUBLISHED = dict(depthwise='dwc', norm='norm.norm', gate='fc_alpha', angle='fc_theta')


def published(net) -> dict[str, torch.Tensor]:
    """The net's weights under the published names, by their table."""
    state = {}
    for name, value in net.state_dict().items():
        if '.routing.' in name:
            head, _, tail = name.partition('.routing.')
            part, _, leaf = tail.partition('.')
            name = f'{head}.rounting_func.{PUBLISHED[part]}.{leaf}'
        state[name] = value
    return state


@pytest.fixture(scope='module')
def net():
    torch.manual_seed(0)
    return MODELS.build(BACKBONE)


@pytest.fixture
def config(tmp_path):
    path = tmp_path / 'config.py'
    Config(dict(model=dict(backbone=BACKBONE))).dump(str(path))
    return path


def test_backbone_file(net, tmp_path, config):
    state = {f'module.{k}': v for k, v in published(net).items()}
    state = {k: v for k, v in state.items() if 'num_batches_tracked' not in k}
    state['module.fc.weight'] = torch.zeros(10, 128)
    torch.save(dict(state_dict=state), tmp_path / 'a.pth')
    done = convert_arc(tmp_path / 'a.pth', tmp_path / 'b.pth', config)
    assert done.left_out == ['fc.weight'] and done.neck == {}
    assert done.kernel_numbers == {'layer2.1.conv2': 2, 'layer4.0.conv2': 2}
    stored = load_checkpoint(tmp_path / 'b.pth')['state_dict']
    expected = {f'backbone.{k}': v for k, v in net.state_dict().items()}
    assert stored.keys() == expected.keys()
    assert all(torch.equal(stored[k], v) for k, v in expected.items())


def test_pretrained_backbone_is_loaded_strictly_enough(net, tmp_path, config):
    """A wrong prefix would load nothing in silence."""
    torch.save(published(net), tmp_path / 'a.pth')
    convert_arc(tmp_path / 'a.pth', tmp_path / 'b.pth', config)
    init = dict(
        type='Pretrained', checkpoint=str(tmp_path / 'b.pth'), prefix='backbone.'
    )
    torch.manual_seed(1)
    other = MODELS.build(dict(BACKBONE, init_cfg=init))
    other.init_weights()
    for name, value in net.state_dict().items():
        assert torch.equal(other.state_dict()[name], value), name


def test_detector_file(net, tmp_path, capsys):
    pytest.importorskip('mmdet')
    fpn = dict(
        type='mmdet.FPN', in_channels=[16, 32, 64, 128], out_channels=8, num_outs=5
    )
    neck = MODELS.build(fpn)
    config = tmp_path / 'config.py'
    Config(dict(model=dict(backbone=BACKBONE, neck=fpn))).dump(str(config))
    state = {f'backbone.{k}': v for k, v in published(net).items()}
    state |= {f'neck.{k}': v for k, v in neck.state_dict().items()}
    state['rpn_head.rpn_conv.weight'] = torch.zeros(1)
    torch.save(dict(state_dict=state, meta={}), tmp_path / 'a.pth')
    run_arc_converter(
        [str(tmp_path / 'a.pth'), str(tmp_path / 'b.pth'), '--config', str(config)]
    )
    out = capsys.readouterr().out
    assert 'not converted: 1 tensors of rpn_head' in out
    stored = load_checkpoint(tmp_path / 'b.pth')['state_dict']
    assert torch.equal(
        stored['neck.lateral_convs.0.conv.weight'],
        neck.state_dict()['lateral_convs.0.conv.weight'],
    )


def test_refuses_what_does_not_fit(net, tmp_path, config):
    state = published(net)
    state['layer9.weight'] = torch.zeros(1)
    torch.save(state, tmp_path / 'a.pth')
    with pytest.raises(CheckpointError, match='unused layer9.weight'):
        convert_arc(tmp_path / 'a.pth', tmp_path / 'b.pth', config)
    torch.save(dict(fc=torch.zeros(1), bn=torch.zeros(2)), tmp_path / 'a.pth')
    with pytest.raises(CheckpointError, match='no adaptive rotated convolution'):
        convert_arc(tmp_path / 'a.pth', tmp_path / 'b.pth', config)
    assert not (tmp_path / 'b.pth').exists()
