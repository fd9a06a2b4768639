"""Freezing to exit k: a plain, smaller mmpretrain classifier, the same answers."""

import copy

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

pytest.importorskip('mmpretrain')

from mmengine.registry import DefaultScope
from mmpretrain.models import ImageClassifier
from mmpretrain.registry import MODELS as MMPRETRAIN
from mmpretrain.structures import DataSample

from dynnet.models.classifiers import freeze_exit_config, freeze_exit_state
from dynnet.utils.errors import CheckpointError, ConfigError


def build(cfg):
    """As mmpretrain's own tools build it."""
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        return MMPRETRAIN.build(copy.deepcopy(cfg)).eval()


def freeze(cfg, state, k):
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        frozen = build(freeze_exit_config(cfg, k))
    frozen.load_state_dict(freeze_exit_state(state, k, frozen.state_dict()))
    return frozen


def macs_and_size(net, x):
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        net.predict(x)
    return counter.get_total_flops() // 2, sum(p.numel() for p in net.parameters())


def test_same_answers_with_less(net_config, make_net, net_name, pictures):
    full, x = make_net(net_name), pictures[:5]
    cfg, state = net_config(net_name), full.state_dict()
    before = copy.deepcopy(cfg)
    measured = []
    for k in range(1, full.num_exits + 1):
        frozen = freeze(cfg, state, k)
        assert type(frozen) is ImageClassifier
        full.mode = f'exit={k}'
        with torch.no_grad():
            expected, got = full.predict(x), frozen.predict(x)
        for a, b in zip(expected, got, strict=True):
            torch.testing.assert_close(a.pred_score, b.pred_score, rtol=0, atol=1e-6)
            assert torch.equal(a.pred_label, b.pred_label)
        macs, size = macs_and_size(frozen, x)
        # MSDNet's fixed exit still runs scales that only later exits read.
        assert macs <= macs_and_size(full, x)[0]
        measured.append((macs, size))
    assert cfg == before
    assert measured == sorted(set(measured))
    full.mode = 'simulate'
    assert all(a < b for a, b in zip(measured[-1], macs_and_size(full, x)))


def test_a_frozen_net_trains(net_config, make_net, pictures):
    for name in ('msdnet-max', 'ranet-1233'):
        frozen = freeze(net_config(name), make_net(name).state_dict(), 3).train()
        samples = [DataSample().set_gt_label(i) for i in range(4)]
        losses = frozen(pictures[:4], samples, mode='loss')
        assert list(losses) == ['loss']
        losses['loss'].backward()
        assert all(p.grad is not None for p in frozen.parameters())


def test_config(net_config):
    exits = [dict(type='LinearExit'), dict(type='ConvExit', channels=5)] * 2
    cfg = net_config(
        'msdnet-max',
        criterion=dict(type='Entropy'),
        test_cfg=dict(mode='execute', thresholds=[0.5] * 3),
        train_cfg=dict(augments=dict(type='Mixup', alpha=0.2)),
        data_preprocessor=dict(type='ClsDataPreprocessor', num_classes=4),
        init_cfg=dict(type='Pretrained', checkpoint='x.pth'),
    )
    cfg['backbone']['type'] = 'MSDNet'  # ours, whatever the scope around
    cfg['head'].update(
        exit=exits,
        topk=(1, 3),
        loss=dict(type='mmpretrain.LabelSmoothLoss', label_smooth_val=0.1),
        loss_weights=[1, 2, 3, 4],
    )
    frozen = freeze_exit_config(cfg, 2)
    assert frozen == dict(
        type='mmpretrain.ImageClassifier',
        backbone=dict(cfg['backbone'], type='dynnet.MSDNet', exit_index=1),
        head=dict(
            type='dynnet.SingleExitHead',
            num_classes=4,
            in_channels=40,
            branch=dict(type='ConvExit', channels=5),
            loss=dict(type='mmpretrain.LabelSmoothLoss', label_smooth_val=0.1),
            topk=(1, 3),
        ),
        train_cfg=cfg['train_cfg'],
        data_preprocessor=cfg['data_preprocessor'],
    )
    net = build(frozen)
    assert net.head.branch.linear.in_features == 5
    assert type(net.head.loss_module).__name__ == 'LabelSmoothLoss'


def test_state(net_config, make_net):
    state = make_net('ranet-123').state_dict()
    expected = build(freeze_exit_config(net_config('ranet-123'), 3)).state_dict()
    frozen = freeze_exit_state(state, 3, expected)
    assert frozen.keys() == expected.keys()
    assert len(frozen) < len(state)
    weight = 'linear.weight'
    assert frozen[f'head.branch.{weight}'] is state[f'head.exits.2.{weight}']
    parallel = {f'module.{name}': value for name, value in state.items()}
    assert freeze_exit_state(parallel, 3, expected).keys() == frozen.keys()
    gone = {n: v for n, v in state.items() if n != f'head.exits.2.{weight}'}
    message = f'x.pth does not fit the config: missing head.branch.{weight}$'
    with pytest.raises(CheckpointError, match=message):
        freeze_exit_state(gone, 3, expected, 'x.pth')
    wrong = dict(state, **{f'head.exits.2.{weight}': torch.zeros(9, 9)})
    with pytest.raises(CheckpointError, match=r'has shape \(9, 9\), the config wants'):
        freeze_exit_state(wrong, 3, expected)


@pytest.mark.parametrize('k', [0, 5, -1])
def test_no_such_exit(net_config, k):
    with pytest.raises(ConfigError, match=f'exit {k}: the net has exits 1 to 4'):
        freeze_exit_config(net_config('msdnet-max'), k)


def test_other_models(net_config):
    cfg = net_config('msdnet-max')
    with pytest.raises(ConfigError, match='not ImageClassifier'):
        freeze_exit_config(dict(cfg, type='ImageClassifier'), 1)
    cfg['backbone']['exit_index'] = 1
    with pytest.raises(ConfigError, match='exit_index'):
        freeze_exit_config(cfg, 1)


def test_l2w_classifier_is_frozen_without_its_wpn(net_config, make_net, pictures):
    full, x = make_net('msdnet-max'), pictures[:3]
    cfg = net_config('msdnet-max', type='dynnet.L2WClassifier', wpn=dict(delta=0.3))
    state = dict(full.state_dict(), **{'wpn.output_layer.weight': torch.ones(4, 500)})
    frozen = freeze(cfg, state, 2)
    with torch.no_grad():
        expected = full(x)[1].softmax(1)
        got = torch.stack([s.pred_score for s in frozen.predict(x)])
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-6)
