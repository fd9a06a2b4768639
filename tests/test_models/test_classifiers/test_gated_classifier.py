"""The gated classifier: losses, teacher, predictions in both modes, bad settings."""

import copy

import pytest
import torch

pytest.importorskip('mmpretrain')

from mmengine.registry import DefaultScope
from mmpretrain.structures import DataSample

from dynnet.engine.hooks.value_schedule_hook import find_targets
from dynnet.models.gates import count_full_flops
from dynnet.registry import MODELS
from dynnet.utils.cost import count_forward
from dynnet.utils.errors import ConfigError

BACKBONE = dict(
    depth=50,
    num_stages=3,
    strides=(2, 2, 2),
    dilations=(1, 1, 1),
    out_indices=(2,),
    stem_channels=8,
    base_channels=8,
)
NET = dict(
    neck=dict(type='mmpretrain.GlobalAveragePooling'),
    head=dict(type='mmpretrain.LinearClsHead', num_classes=4, in_channels=128),
)
TEACHER = dict(
    type='mmpretrain.ImageClassifier',
    backbone=dict(type='mmpretrain.ResNet_CIFAR', **BACKBONE),
    **NET,
)


def build(gate=None, **settings):
    torch.manual_seed(0)
    backbone = dict(BACKBONE, type='dynnet.LASResNetCIFAR', granularity=(4, 2, 1))
    cfg = dict(
        type='dynnet.GatedClassifier',
        backbone=dict(backbone, gate=gate or {}),
        budget=dict(type='dynnet.MACsBudgetLoss', target=0.5),
        **NET,
    )
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        return MODELS.build(copy.deepcopy(dict(cfg, **settings)))


def samples(n):
    return [DataSample().set_gt_label(i % 4) for i in range(n)]


def test_losses_reach_gates_and_weights():
    distillation = dict(teacher=TEACHER, loss_weight=0.5, temperature=4.0)
    net = build(distillation=distillation).train()
    losses = net.loss(torch.randn(4, 3, 32, 32), samples(4))
    assert set(losses) == {
        'loss',
        'loss_kd',
        'loss_macs',
        'loss_bounds',
        'density',
        'macs_ratio',
    }
    total, log = net.parse_losses(losses)
    parts = sum(losses[k] for k in losses if 'loss' in k)
    torch.testing.assert_close(total, parts)
    assert 0 < log['macs_ratio'] <= 1.01 and 0.9 < log['density'] <= 1
    total.backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, name
    assert not any('teacher' in name for name in net.state_dict())


def test_full_flops_are_those_of_the_network_without_gates():
    net = build()
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        plain = MODELS.build(copy.deepcopy(TEACHER))
    was = net.training
    assert net.full_macs(torch.zeros(2, 3, 32, 32)) == count_full_flops(
        plain, (3, 32, 32)
    )
    assert net.training == was
    macs = count_forward(plain, (3, 32, 32))[0]
    assert macs < net.full_macs(torch.zeros(1, 3, 32, 32)) < 1.05 * macs


def test_targets_of_the_schedules():
    net = build()
    assert len(find_targets(net, ['*.tau'])) == 13
    ((loss, name),) = find_targets(net, ['budget.progress'])
    assert loss is net.budget and name == 'progress'


def test_predictions_carry_costs_in_both_modes():
    net = build(gate=dict(keep_bias=0.0)).eval()
    net.return_masks = True
    x = torch.randn(5, 3, 32, 32)
    with torch.inference_mode():
        simulated = net.predict(x, samples(5))
        net.mode = 'execute'
        executed = net.predict(x)
        alone = net.predict(x[2:3])[0]
    for a, b in zip(simulated, executed):
        torch.testing.assert_close(a.pred_score, b.pred_score, rtol=1e-4, atol=1e-5)
        assert torch.equal(a.macs, b.macs) and 0 < a.macs_ratio < 1
        assert torch.equal(a.densities, b.densities) and a.densities.shape == (13,)
        assert [m.shape for m in a.gate_masks[:4]] == [(4, 4)] * 4
        means = torch.stack([m.float().mean() for m in a.gate_masks])
        torch.testing.assert_close(means, a.densities)
    assert torch.equal(alone.macs, executed[2].macs)  # whoever is in the batch
    assert len({float(s.macs) for s in executed}) > 1


def test_bad_settings():
    with pytest.raises(ConfigError, match=r"unknown keys in test_cfg: \['speed'\]"):
        build(test_cfg=dict(speed=2))
    with pytest.raises(ConfigError, match="mode='exit'"):
        build(test_cfg=dict(mode='exit'))
    with pytest.raises(ConfigError, match='backend='):
        build(test_cfg=dict(mode='execute', backend='fast'))
    with pytest.raises(ConfigError, match='needs a backbone with gates'):
        build(backbone=TEACHER['backbone'])
