"""The head with CAM-loss is the plain head but for one loss."""

import copy

import pytest
import torch

pytest.importorskip('mmpretrain')

from mmengine.registry import DefaultScope
from mmpretrain.structures import DataSample

from dynnet.models.classifiers import add_cam_loss
from dynnet.registry import MODELS
from dynnet.utils.errors import ConfigError, DataError

BACKBONES = {
    'CIFARResNet': (dict(type='dynnet.CIFARResNet', depth=20, base_channels=4), 16),
    'ResNet_CIFAR': (
        dict(type='ResNet_CIFAR', depth=18, stem_channels=4, base_channels=4),
        32,
    ),
    'ResNet': (dict(type='ResNet', depth=50, stem_channels=8, base_channels=2), 64),
    'MobileNetV2': (dict(type='MobileNetV2', widen_factor=0.25), 1280),
    'DenseNet': (
        dict(
            type='DenseNet',
            arch=dict(growth_rate=4, depths=[1, 1, 1, 1], init_channels=8),
        ),
        8,
    ),
}


def plain_config(name: str, **head) -> dict:
    backbone, channels = BACKBONES[name]
    return dict(
        type='ImageClassifier',
        backbone=dict(backbone),
        neck=dict(type='GlobalAveragePooling'),
        head=dict(type='LinearClsHead', num_classes=5, in_channels=channels, **head),
    )


def build(cfg: dict) -> torch.nn.Module:
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        model = MODELS.build(copy.deepcopy(cfg))
        model.init_weights()
    return model


def samples(labels) -> list[DataSample]:
    return [DataSample().set_gt_label(label) for label in labels]


def pair(name: str = 'CIFARResNet', **loss_cam):
    cfg = plain_config(name)
    return build(cfg), build(add_cam_loss(cfg, loss_cam))


@pytest.mark.parametrize('name', BACKBONES)
def test_any_net_with_pooling_and_one_linear_layer(name):
    plain, ours = pair(name)
    size = 32 if 'CIFAR' in name else 64
    x, labels = torch.rand(4, 3, size, size), samples([0, 1, 4, 2])
    assert list(plain.state_dict()) == list(ours.state_dict())
    assert all(torch.equal(a, b) for a, b in zip(plain.parameters(), ours.parameters()))
    assert torch.equal(plain(x), ours(x))
    losses = ours(x, labels, mode='loss')
    expected = plain(x, samples([0, 1, 4, 2]), mode='loss')
    assert torch.equal(losses['loss'], expected['loss'])
    assert losses['loss_cam'] > 0 and losses['constant_maps'] == 0
    assert losses['loss_cam'].item() == pytest.approx(3 * float(losses['cam_distance']))
    total, log = ours.parse_losses(losses)
    assert torch.equal(total, losses['loss'] + losses['loss_cam'])
    assert {'loss', 'loss_cam', 'cam_distance', 'constant_maps'} <= set(log)
    plain.eval(), ours.eval()
    with torch.no_grad():
        a, b = plain.predict(x), ours.predict(x)
    assert all(torch.equal(p.pred_score, q.pred_score) for p, q in zip(a, b))


def test_inference_costs_the_same():
    from mmengine.analysis import get_model_complexity_info

    plain, ours = (model.eval() for model in pair())
    x = torch.rand(1, 3, 32, 32)
    counts = [get_model_complexity_info(m, inputs=(x,)) for m in (plain, ours)]
    assert counts[0]['flops'] == counts[1]['flops'] > 1e6
    assert counts[0]['params'] == counts[1]['params']


def test_without_weight_training_is_the_plain_one_bit_by_bit():
    plain, ours = pair(loss_weight=0.0)
    for model in (plain, ours):
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        generator = torch.Generator().manual_seed(1)
        for _ in range(3):
            x = torch.rand(8, 3, 32, 32, generator=generator)
            losses = model(x, samples([0, 1, 2, 3, 4, 0, 1, 2]), mode='loss')
            total, _ = model.parse_losses(losses)
            optimizer.zero_grad()
            total.backward()
            optimizer.step()
    state = ours.state_dict()
    for name, value in plain.state_dict().items():
        assert torch.equal(value, state[name]), name


def test_classifier_is_moved_by_the_classification_alone():
    plain, ours = pair(loss_weight=5.0)
    x, labels = torch.rand(4, 3, 32, 32), [0, 1, 4, 2]
    for model in (plain, ours):
        model.parse_losses(model(x, samples(labels), mode='loss'))[0].backward()
    assert torch.equal(plain.head.fc.weight.grad, ours.head.fc.weight.grad)
    assert torch.equal(plain.head.fc.bias.grad, ours.head.fc.bias.grad)
    assert not torch.equal(
        plain.backbone.conv1.weight.grad, ours.backbone.conv1.weight.grad
    )


def test_dead_maps_are_counted_in_the_log():
    _, ours = pair()
    feats = torch.rand(4, 16, 8, 8)
    feats[[0, 2]] = 0
    losses = ours.head.loss((feats,), samples([0, 1, 2, 3]))
    assert losses['constant_maps'] == 2
    assert losses['loss_cam'].isfinite() and losses['loss_cam'] > 0


@pytest.mark.parametrize('augment', ['Mixup', 'CutMix'])
def test_batch_augmentations(augment):
    cfg = add_cam_loss(plain_config('CIFARResNet'))
    cfg['train_cfg'] = dict(augments=dict(type=augment, alpha=1.0))
    cfg['data_preprocessor'] = dict(num_classes=5, mean=[0.5], std=[1.0])
    cfg['head']['loss'] = dict(type='CrossEntropyLoss', use_soft=True)
    model = build(cfg)
    data = dict(inputs=torch.rand(6, 3, 32, 32), data_samples=samples([0, 1, 2, 3] * 2))
    data['data_samples'] = data['data_samples'][:6]
    data = model.data_preprocessor(data, training=True)
    assert 'gt_score' in data['data_samples'][0]
    losses = model(**data, mode='loss')
    assert 0 < losses['loss_cam'] < 3
    model.parse_losses(losses)[0].backward()


def test_label_smoothing_keeps_the_hard_label_for_the_maps():
    smooth = dict(type='LabelSmoothLoss', label_smooth_val=0.1, num_classes=5)
    ours = build(add_cam_loss(plain_config('CIFARResNet', loss=smooth)))
    plain_loss = build(add_cam_loss(plain_config('CIFARResNet')))
    x, labels = torch.rand(4, 3, 32, 32), [0, 1, 4, 2]
    a = ours(x, samples(labels), mode='loss')
    b = plain_loss(x, samples(labels), mode='loss')
    assert a['loss'] != b['loss'] and torch.equal(a['loss_cam'], b['loss_cam'])


def test_autocast():
    _, ours = pair()
    x, labels = torch.rand(8, 3, 32, 32), [0, 1, 2, 3, 4, 0, 1, 2]
    plain = ours(x, samples(labels), mode='loss')
    with torch.autocast('cpu', dtype=torch.bfloat16):
        half = ours(x, samples(labels), mode='loss')
    assert half['loss_cam'].dtype == torch.float32
    assert float(half['loss_cam']) == pytest.approx(float(plain['loss_cam']), rel=0.05)
    ours.parse_losses(half)[0].backward()
    assert all(p.grad.isfinite().all() for p in ours.parameters())


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (dict(type='MultiExitClassifier'), 'not MultiExitClassifier'),
        (dict(head=dict(type='StackedLinearClsHead')), 'StackedLinearClsHead has no'),
        (dict(head=dict(type='VisionTransformerClsHead')), 'VisionTransformerClsHead'),
        (dict(neck=None, backbone=dict(type='VGG')), 'VGG has no neck'),
        (dict(neck=dict(type='GeneralizedMeanPooling')), 'GeneralizedMeanPooling'),
        (dict(neck=dict(type='GlobalAveragePooling', dim=1)), 'two dimensions'),
    ],
)
def test_other_classifiers_are_refused(change, message):
    cfg = dict(plain_config('ResNet'), **change)
    with pytest.raises(ConfigError, match=message):
        add_cam_loss(cfg)


def test_a_net_without_a_map_is_refused():
    """VGG's own fully connected layers give (N, classes)."""
    _, ours = pair()
    with pytest.raises(ConfigError, match='VGG'):
        ours.head((torch.rand(2, 5),))
    with pytest.raises(ConfigError, match='7 channels'):
        ours.head((torch.rand(2, 7, 4, 4),))


def test_a_label_too_large_is_named_before_anything_is_indexed():
    _, ours = pair()
    with pytest.raises(DataError, match='label 5 is not between 0 and 4'):
        ours(torch.rand(2, 3, 32, 32), samples([0, 5]), mode='loss')
